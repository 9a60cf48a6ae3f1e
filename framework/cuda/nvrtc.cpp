// Compiles kernels.cu to PTX without nvcc: nvrtc SOURCE OUT. The driver makes machine code of it on the GPU's machine.
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
    check(nvrtcGetPTXSize(program, &size));
    std::string ptx(size, '\0');
    check(nvrtcGetPTX(program, ptx.data()));
    std::ofstream(words[2], std::ios::binary).write(ptx.data(), static_cast<std::streamsize>(ptx.size()));
}
