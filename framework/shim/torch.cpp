// What tch does not bind and a CPU has too: memory formats, gradients of single operators, TF32's
// switches, an operator recorder.
//
// Tensors are tch's: pointers to at::Tensor. Those that are returned are new and belong to the
// caller.
#include "guard.h"
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <ATen/record_function.h>
#include <chrono>
#include <cstdlib>
#include <dlfcn.h>
#include <map>
#include <mutex>

using at::Tensor;

namespace {

// One operator's calls. `self` leaves out the time of the operators it calls.
struct Calls {
    int64_t count = 0;
    double self = 0;
};

std::mutex lock;
std::map<std::string, Calls> seen;
at::CallbackHandle handle = 0;
void (*wait_for_device)() = nullptr;

struct Running : at::ObserverContext {
    std::chrono::steady_clock::time_point start;
    double inner = 0;
    Running* outer;
};
thread_local Running* innermost = nullptr;

std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction&) {
    if (wait_for_device) wait_for_device();
    auto running = std::make_unique<Running>();
    running->outer = innermost;
    innermost = running.get();
    running->start = std::chrono::steady_clock::now();
    return running;
}

void leave(const at::RecordFunction& function, at::ObserverContext* context) {
    if (wait_for_device) wait_for_device();
    auto* running = static_cast<Running*>(context);
    double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - running->start).count();
    innermost = running->outer;
    if (innermost) innermost->inner += took;
    std::lock_guard<std::mutex> held(lock);
    auto& calls = seen[function.name()];
    calls.count += 1;
    calls.self += took - running->inner;
}

} // namespace

extern "C" {

void foil_free(char* message) { std::free(message); }

// `in` with channels-last strides: itself if it has them, else a copy.
char* foil_channels_last(Tensor** out, const Tensor* in) {
    return guarded([&] { *out = new Tensor(in->contiguous(at::MemoryFormat::ChannelsLast)); });
}

char* foil_is_channels_last(bool* out, const Tensor* in) {
    return guarded([&] { *out = in->is_contiguous(at::MemoryFormat::ChannelsLast); });
}

// How often the numbers of `in`, or of a tensor that shares them, were changed in place.
char* foil_version(uint64_t* out, const Tensor* in) {
    return guarded([&] { *out = in->unsafeGetTensorImpl()->version_counter().current_version(); });
}

// d/d(input) of a convolution without dilation and groups. Of `input` only shape and strides count.
char* foil_conv_input_gradient(Tensor** out, const Tensor* gradient, const Tensor* input, const Tensor* weight, int64_t stride, int64_t padding) {
    return guarded([&] {
        auto found = at::convolution_backward(
            *gradient, *input, *weight, c10::nullopt, {stride, stride}, {padding, padding}, {1, 1}, false, {0, 0}, 1, {true, false, false});
        *out = new Tensor(std::get<0>(found));
    });
}

// d/d(weight) of the same.
char* foil_conv_weight_gradient(Tensor** out, const Tensor* gradient, const Tensor* input, const Tensor* weight, int64_t stride, int64_t padding) {
    return guarded([&] {
        auto found = at::convolution_backward(
            *gradient, *input, *weight, c10::nullopt, {stride, stride}, {padding, padding}, {1, 1}, false, {0, 0}, 1, {false, true, false});
        *out = new Tensor(std::get<1>(found));
    });
}

// d/d(input) of a batch norm that used the batch's statistics; with `learns` d/d(weight) and
// d/d(bias) behind it.
char* foil_batch_norm_gradients(Tensor** out, const Tensor* gradient, const Tensor* input, const Tensor* weight, const Tensor* mean,
                                const Tensor* inverse_std, double eps, bool learns) {
    return guarded([&] {
        auto [x, w, b] = at::native_batch_norm_backward(*gradient, *input, *weight, {}, {}, *mean, *inverse_std, true, eps, {true, learns, learns});
        out[0] = new Tensor(x);
        if (learns) out[1] = new Tensor(w), out[2] = new Tensor(b);
    });
}

// Whether fp32 products on CUDA may round their factors to TF32's 10 bits.
char* foil_allow_tf32(bool allow) {
    return guarded([&] {
        at::globalContext().setAllowTF32CuBLAS(allow);
        at::globalContext().setAllowTF32CuDNN(allow);
    });
}

// Whether the processor takes subnormal numbers for 0, in this thread and in those that compute for
// it. The switch is in each thread's control register; threads that start later inherit it, the
// ones that OpenMP has running already get it through a parallel region. libtorch's own headers
// would bring a second OpenMP, so the region is asked of the one that libtorch has loaded.
char* foil_flush_denormal(bool flush) {
    return guarded([&] {
        auto set = [](void* flush) { at::globalContext().setFlushDenormal(*static_cast<bool*>(flush)); };
        set(&flush);
        using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
        auto parallel = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
        if (parallel) parallel(set, &flush, 0, 0);
    });
}

// Whether CUDA may choose convolutions by trying them out and add numbers in any order, or must do
// the same each time.
char* foil_deterministic(bool deterministic) {
    return guarded([&] {
        at::globalContext().setBenchmarkCuDNN(!deterministic);
        at::globalContext().setDeterministicCuDNN(deterministic);
        at::globalContext().setDeterministicAlgorithms(deterministic, /*warn_only=*/true);
        // It would write to every new tensor first. Nothing here reads what nobody wrote.
        at::globalContext().setDeterministicFillUninitializedMemory(false);
    });
}

// Records every operator of every thread until `foil_record_stop`; `wait`, if any, is called at
// both ends of each.
char* foil_record_start(void (*wait)()) {
    return guarded([&] {
        TORCH_CHECK(handle == 0, "operators are being recorded already");
        std::lock_guard<std::mutex> held(lock);
        seen.clear();
        wait_for_device = wait;
        handle = at::addGlobalCallback(
            at::RecordFunctionCallback(enter, leave).scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
    });
}

// Ends it and tells what was seen, operator by operator.
char* foil_record_stop(void (*tell)(void*, const char*, int64_t, double), void* listener) {
    return guarded([&] {
        TORCH_CHECK(handle != 0, "no operators are being recorded");
        at::removeCallback(handle);
        handle = 0;
        std::lock_guard<std::mutex> held(lock);
        for (const auto& [name, calls] : seen) tell(listener, name.c_str(), calls.count, calls.self);
        seen.clear();
    });
}
}
