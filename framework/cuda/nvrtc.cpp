// Compiles kernels without nvcc: nvrtc SOURCE OUT... OPTION... An OUT that ends in .cubin gets
// machine code, for an architecture that is not virtual; one in .ptx what the driver makes machine
// code of on the GPU's machine.
#include <cstdio>
#include <fstream>
#include <nvrtc.h>
#include <sstream>
#include <string>
#include <vector>

static bool ends(const std::string& text, const std::string& with) {
    return text.size() > with.size() && text.substr(text.size() - with.size()) == with;
}

static void check(nvrtcResult result) {
    if (result == NVRTC_SUCCESS) return;
    std::fprintf(stderr, "%s\n", nvrtcGetErrorString(result));
    std::exit(1);
}

int main(int count, char** words) {
    if (count < 3) return std::fprintf(stderr, "nvrtc SOURCE OUT... [OPTION...]\n"), 2;
    std::stringstream source;
    source << std::ifstream(words[1]).rdbuf();
    nvrtcProgram program;
    check(nvrtcCreateProgram(&program, source.str().c_str(), words[1], 0, nullptr, nullptr));
    int first = 2;
    while (first < count && words[first][0] != '-') ++first;
    std::vector<const char*> options(words + first, words + count);
    nvrtcResult compiled = nvrtcCompileProgram(program, static_cast<int>(options.size()), options.data());
    size_t size = 0;
    check(nvrtcGetProgramLogSize(program, &size));
    std::string log(size, '\0');
    check(nvrtcGetProgramLog(program, log.data()));
    if (log.size() > 1) std::fprintf(stderr, "%s\n", log.c_str());
    check(compiled);
    for (int out = 2; out < first; ++out) {
        const bool machine = ends(words[out], ".cubin");
        check(machine ? nvrtcGetCUBINSize(program, &size) : nvrtcGetPTXSize(program, &size));
        if (!size) return std::fprintf(stderr, "there is nothing for %s of this architecture\n", words[out]), 1;
        std::string made(size, '\0');
        check(machine ? nvrtcGetCUBIN(program, made.data()) : nvrtcGetPTX(program, made.data()));
        std::ofstream(words[out], std::ios::binary).write(made.data(), static_cast<std::streamsize>(made.size()));
    }
}
