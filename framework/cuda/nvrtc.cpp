// Compiles kernels without nvcc: nvrtc SOURCE OUT OPTION... To PTX, of which the driver makes machine code on the GPU's machine, or to machine code, if the
// architecture is not virtual.
#include <cstdio>
#include <fstream>
#include <nvrtc.h>
#include <sstream>
#include <string>
#include <vector>

static void check(nvrtcResult result) {
    if (result == NVRTC_SUCCESS) return;
    std::fprintf(stderr, "%s\n", nvrtcGetErrorString(result));
    std::exit(1);
}

int main(int count, char** words) {
    if (count < 3) return std::fprintf(stderr, "nvrtc SOURCE OUT [OPTION...]\n"), 2;
    std::stringstream source;
    source << std::ifstream(words[1]).rdbuf();
    nvrtcProgram program;
    check(nvrtcCreateProgram(&program, source.str().c_str(), words[1], 0, nullptr, nullptr));
    std::vector<const char*> options(words + 3, words + count);
    nvrtcResult compiled = nvrtcCompileProgram(program, static_cast<int>(options.size()), options.data());
    size_t size = 0;
    check(nvrtcGetProgramLogSize(program, &size));
    std::string log(size, '\0');
    check(nvrtcGetProgramLog(program, log.data()));
    if (log.size() > 1) std::fprintf(stderr, "%s\n", log.c_str());
    check(compiled);
    bool machine = false;
    for (const char* option : options) machine = machine || std::string(option).find("=sm_") != std::string::npos;
    check(machine ? nvrtcGetCUBINSize(program, &size) : nvrtcGetPTXSize(program, &size));
    std::string made(size, '\0');
    check(machine ? nvrtcGetCUBIN(program, made.data()) : nvrtcGetPTX(program, made.data()));
    std::ofstream(words[2], std::ios::binary).write(made.data(), static_cast<std::streamsize>(made.size()));
}
