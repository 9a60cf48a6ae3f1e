// As much of Gloo as libtorch 2.11.0's `ProcessGroupGloo.hpp` has to see. libtorch_cpu.so holds
// Gloo itself, but the wheel lacks its headers.
//
// That header holds Gloo's types behind pointers only, so no layout depends on what stands here,
// and c10d.cpp touches none of them: it uses `ProcessGroupGloo` alone, whose functions are
// libtorch's. It refuses to be compiled against another libtorch.
#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace gloo {

class Context {
  public:
    void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {
class Device;
class UnboundBuffer;
} // namespace transport

} // namespace gloo
