// Which kernels a GPU runs and for how long, those of captured graphs too, by libtorch's profiler
// (Kineto on CUPTI).
#include "guard.h"
#include <map>
#include <string>
#include <torch/csrc/autograd/profiler_kineto.h>

namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;

extern "C" {

// Notes what a GPU does until `foil_kernels_stop`.
char* foil_kernels_start() {
    return guarded([] {
        torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
        std::set<ActivityType> activities{ActivityType::CUDA};
        profiler::prepareProfiler(config, activities);
        profiler::enableProfiler(config, activities);
    });
}

// Ends it and tells what was seen, kernel by kernel: copies and fills count as such.
char* foil_kernels_stop(void (*tell)(void*, const char*, int64_t, double), void* listener) {
    return guarded([&] {
        auto result = profiler::disableProfiler();
        std::map<std::string, std::pair<int64_t, double>> seen;
        for (const auto& event : result->events()) {
            if (event.deviceType() == c10::DeviceType::CPU) continue;
            auto& [count, seconds] = seen[event.name()];
            count += 1;
            seconds += static_cast<double>(event.durationNs()) * 1e-9;
        }
        for (const auto& [name, kernel] : seen) tell(listener, name.c_str(), kernel.first, kernel.second);
    });
}
}
