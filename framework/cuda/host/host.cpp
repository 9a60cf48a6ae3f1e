// The kernels as functions of a CPU, by name.
#include "host.h"

#include "../kernels.cu"
#include <algorithm>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <tuple>
#include <ucontext.h>
#include <vector>

namespace host {

// A place to run threads of the block in, one after the other; another is needed for each thread
// that waits at a barrier.
struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    unsigned thread = 0;
    int waits_at = 0; // a line, or 0
};

struct Block {
    void (*call)(void**) = nullptr;
    void** arguments = nullptr;
    unsigned threads = 0, begun = 0, done = 0;
    bool backwards = false;
    std::minstd_rand order; // the same each time
    ucontext_t scheduler;
    Fiber* current = nullptr;
    std::vector<std::unique_ptr<Fiber>> fibers;
};
static thread_local Block block;

static void run_threads() {
    for (;;) {
        Fiber* me = block.current;
        while (block.begun < block.threads) {
            unsigned next = block.begun++;
            threadIdx.x = me->thread = block.backwards ? block.threads - 1 - next : next;
            block.call(block.arguments);
            ++block.done;
        }
        swapcontext(&me->context, &block.scheduler);
    }
}

void barrier(int line) {
    Fiber* me = block.current;
    me->waits_at = line;
    swapcontext(&me->context, &block.scheduler);
    me->waits_at = 0;
    threadIdx.x = me->thread;
}

static void resume(Fiber& fiber) {
    block.current = &fiber;
    swapcontext(&block.scheduler, &fiber.context);
}

// A fiber that waits nowhere.
static Fiber& idle() {
    for (auto& fiber : block.fibers)
        if (!fiber->waits_at) return *fiber;
    constexpr size_t STACK = 64 * 1024;
    auto made = std::make_unique<Fiber>();
    made->stack.reset(new char[STACK]);
    getcontext(&made->context);
    made->context.uc_stack.ss_sp = made->stack.get();
    made->context.uc_stack.ss_size = STACK;
    made->context.uc_link = nullptr;
    makecontext(&made->context, run_threads, 0);
    block.fibers.push_back(std::move(made));
    return *block.fibers.back();
}

static void run_block() {
    block.begun = block.done = 0;
    while (block.begun < block.threads) resume(idle());
    while (block.done < block.threads) {
        std::vector<Fiber*> waiting;
        for (auto& fiber : block.fibers)
            if (fiber->waits_at) waiting.push_back(fiber.get());
        for (Fiber* fiber : waiting)
            if (fiber->waits_at != waiting[0]->waits_at) throw std::runtime_error("threads of a block wait at different barriers");
        if (waiting.size() != block.threads) throw std::runtime_error("threads of a block wait for others that have ended");
        std::shuffle(waiting.begin(), waiting.end(), block.order);
        for (Fiber* fiber : waiting) resume(*fiber);
    }
}

// One letter for each argument: B, F, D, U for pointers to bf16, float, double, unsigned; l, i, f
// for a long, an int, a float, w for a table of words.
template <class A> constexpr char letter() {
    using P = std::remove_cv_t<std::remove_pointer_t<A>>;
    if (std::is_pointer_v<A>) return std::is_same_v<P, bf16> ? 'B' : std::is_same_v<P, float> ? 'F' : std::is_same_v<P, double> ? 'D' : 'U';
    return std::is_same_v<A, long> ? 'l' : std::is_same_v<A, int> ? 'i' : std::is_same_v<A, float> ? 'f' : 'w';
}

struct Entry {
    const char* name;
    std::string letters;
    void (*call)(void**);
};

template <auto kernel, class... A, size_t... I> Entry entry(const char* name, void (*)(A...), std::index_sequence<I...>) {
    return {name, {letter<A>()...}, [](void** given) { kernel(*static_cast<A*>(given[I])...); }};
}
template <auto kernel, class... A> Entry entry(const char* name, void (*typed)(A...)) {
    return entry<kernel>(name, typed, std::index_sequence_for<A...>());
}
template <auto kernel> Entry entry(const char* name) { return entry<kernel>(name, kernel); }

static const std::vector<Entry>& entries() {
    static const std::vector<Entry> all{
#include "table.inc"
    };
    return all;
}

} // namespace host

extern "C" {

const char* foil_host_name(size_t i) { return i < host::entries().size() ? host::entries()[i].name : nullptr; }
const char* foil_host_letters(size_t i) { return host::entries()[i].letters.c_str(); }

// Null, or what went wrong. `backwards`: the last block first.
const char* foil_host_launch(size_t i, unsigned x, unsigned y, unsigned threads, void** arguments, bool backwards) {
    static thread_local std::string told;
    try {
        host::block.call = host::entries()[i].call;
        host::block.arguments = arguments;
        host::block.threads = threads;
        host::block.backwards = backwards;
        gridDim = {x, y}, blockDim = {threads, 1};
        for (unsigned n = 0; n < x * y; ++n) {
            unsigned at = backwards ? x * y - 1 - n : n;
            blockIdx = {at % x, at / x};
            host::run_block();
        }
        return nullptr;
    } catch (const std::exception& error) {
        host::block.fibers.clear();
        told = error.what();
        return told.c_str();
    }
}
}
