// libtorch's c10d, as torch.distributed uses it: ranks meet at a TCP store, and reduce tensors with
// Gloo.
//
// Tensors are tch's: pointers to at::Tensor, which stay the caller's. No exception leaves a
// function: null, or a message for `free`.
#define USE_C10D_GLOO
#include "guard.h"
#include <mutex>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/headeronly/version.h>

#if TORCH_VERSION_MAJOR != 2 || TORCH_VERSION_MINOR != 11
#error "framework/shim/gloo declares what libtorch 2.11's ProcessGroupGloo.hpp needs: read that header again before changing this"
#endif

using at::Tensor;
using Milliseconds = std::chrono::milliseconds;

struct FoilStore {
    c10::intrusive_ptr<c10d::Store> store;
};

struct FoilGroup {
    c10::intrusive_ptr<c10d::Backend> backend;
};

struct FoilWork {
    std::vector<Tensor> tensors;
    c10::intrusive_ptr<c10d::Work> work;
};

// Begins a collective, which does not wait. One at a time: c10d's flight recorder notes the first
// of each group in a map of the process that it does not lock, and ranks may be threads of one
// process, as in tests.
template <class Collective> FoilWork* begin(const Tensor* tensor, Collective&& collective) {
    static std::mutex one;
    auto work = std::make_unique<FoilWork>();
    work->tensors = {*tensor};
    std::lock_guard<std::mutex> held(one);
    work->work = collective(work->tensors);
    return work.release();
}

extern "C" {

// Rank 0 serves, unless the launcher does (torchrun). Waits until the server answers, `timeout`
// milliseconds at most.
char* foil_store_open(FoilStore** out, const char* host, uint16_t port, bool serve, const char* prefix, int64_t timeout) {
    return guarded([&] {
        c10d::TCPStoreOptions options;
        options.port = port;
        options.isServer = serve;
        options.waitWorkers = false;
        options.timeout = Milliseconds(timeout);
        auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
        *out = new FoilStore{c10::make_intrusive<c10d::PrefixStore>(prefix, store)};
    });
}

char* foil_store_set(FoilStore* store, const char* key, const uint8_t* value, size_t length) {
    return guarded([&] { store->store->set(key, std::vector<uint8_t>(value, value + length)); });
}

// Whether the key is set, without waiting.
char* foil_store_has(bool* out, FoilStore* store, const char* key) {
    return guarded([&] { *out = store->store->check({key}); });
}

// Gives the key's value to `take`; waits for it, `timeout` milliseconds at most.
char* foil_store_get(FoilStore* store, const char* key, int64_t timeout, void (*take)(void*, const uint8_t*, size_t), void* to) {
    return guarded([&] {
        store->store->wait({key}, Milliseconds(timeout));
        auto value = store->store->get(key);
        take(to, value.data(), value.size());
    });
}

void foil_store_free(FoilStore* store) {
    std::free(guarded([&] { delete store; }));
}

// Every rank of the store calls it. A collective that takes longer than `timeout` milliseconds
// fails.
char* foil_gloo_open(FoilGroup** out, FoilStore* store, int rank, int size, int64_t timeout) {
    return guarded([&] {
        auto options = c10d::ProcessGroupGloo::Options::create_default(Milliseconds(timeout));
        *out = new FoilGroup{c10::make_intrusive<c10d::ProcessGroupGloo>(store->store, rank, size, options)};
    });
}

// Begins to replace the tensor by its sum over the ranks; it must be left alone until
// `foil_work_wait`.
char* foil_group_sum(FoilWork** out, FoilGroup* group, const Tensor* tensor) {
    return guarded([&] { *out = begin(tensor, [&](auto& tensors) { return group->backend->allreduce(tensors); }); });
}

// The same, by rank 0's.
char* foil_group_broadcast(FoilWork** out, FoilGroup* group, const Tensor* tensor) {
    return guarded([&] { *out = begin(tensor, [&](auto& tensors) { return group->backend->broadcast(tensors); }); });
}

// Waits for it, and ends it.
char* foil_work_wait(FoilWork* work) {
    return guarded([&] {
        std::unique_ptr<FoilWork> owned(work);
        owned->work->wait();
    });
}

// Closes the connections: what other ranks still wait for fails at once.
void foil_group_free(FoilGroup* group) {
    std::free(guarded([&] { delete group; }));
}
}
