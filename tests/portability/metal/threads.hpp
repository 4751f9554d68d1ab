// Runs a workgroup's threads on one CPU thread: each in turn runs to the next barrier, in a given
// order. A kernel's results must not depend on that order. A race that a driver hides, because its
// threads happen to run in step, shows here as a different result.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <ucontext.h>
#include <vector>

#include "vector.hpp"

namespace shim {
const size_t STACK = 512 << 10;
const size_t SHARED = 64 << 10;

enum class State { Running, AtBarrier, Ended };

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    State state;
};

inline std::vector<Fiber> fibers;
inline ucontext_t scheduler;
inline size_t current;
inline std::vector<char> shared;
inline metal::uint3 workgroup;
inline void (*body)(metal::uint3, unsigned);

// Refers to an argument of any type.
struct Any {
    void* at;
    template <class T>
    operator T&() const { return *static_cast<T*>(at); }
};

inline Any shared_variable(unsigned i) { return {shared.data() + i * SHARED}; }

inline void barrier() {
    fibers[current].state = State::AtBarrier;
    swapcontext(&fibers[current].context, &scheduler);
}

inline void enter() {
    body(workgroup, unsigned(current));
    fibers[current].state = State::Ended;
    swapcontext(&fibers[current].context, &scheduler);
}

[[noreturn]] inline void fail(const char* why) {
    std::fprintf(stderr, "%s\n", why);
    std::exit(1);
}

// Runs all threads of one workgroup through all its barriers.
inline void run_workgroup(unsigned threads, bool barriers, bool descending) {
    auto at = [&](unsigned i) { return descending ? threads - 1 - i : i; };
    // Poison the memory: no thread may read what none has written.
    std::memset(shared.data(), 0xFF, shared.size());
    if (!barriers) {
        for (unsigned i = 0; i < threads; i++) body(workgroup, at(i));
        return;
    }
    for (Fiber& fiber : fibers) {
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
        fiber.state = State::Running;
    }
    for (size_t ended = 0; ended < threads;) {
        for (unsigned i = 0; i < threads; i++) {
            current = at(i);
            if (fibers[current].state != State::Ended) swapcontext(&scheduler, &fibers[current].context);
        }
        ended = 0;
        for (Fiber& fiber : fibers) ended += fiber.state == State::Ended;
        if (ended != 0 && ended != threads) fail("not every thread reaches a barrier");
    }
}

inline void read(void* to, size_t bytes) {
    if (bytes != 0 && std::fread(to, bytes, 1, stdin) != 1) std::exit(0);
}

template <class T>
T read() {
    T value;
    read(&value, sizeof value);
    return value;
}

struct Binding {
    uint32_t buffer, offset, size;
};

// Runs dispatches from standard input until it ends. Each consists of the order, the number of
// workgroups, the bindings, the parameters and the buffers. Afterwards the buffers are written to
// standard output.
template <class Bind>
void serve(unsigned threads, unsigned variables, bool barriers, size_t parameters, Bind bind, void (*thread)(metal::uint3, unsigned)) {
    body = thread;
    shared.resize(variables * SHARED);
    fibers.resize(barriers ? threads : 0);
    for (Fiber& fiber : fibers) fiber.stack.reset(new char[STACK]);
    for (;;) {
        auto descending = read<uint32_t>() != 0;
        auto width = read<uint32_t>(), height = read<uint32_t>();
        std::vector<Binding> bindings(read<uint32_t>());
        for (Binding& binding : bindings) binding = read<Binding>();
        std::vector<uint32_t> block(parameters / 4);
        read(block.data(), parameters);
        std::vector<std::vector<uint64_t>> buffers(read<uint32_t>());
        std::vector<size_t> lengths;
        for (auto& buffer : buffers) {
            lengths.push_back(read<uint32_t>());
            buffer.resize(lengths.back() / 8 + 1);
            read(buffer.data(), lengths.back());
        }
        std::vector<void*> at;
        std::vector<uint32_t> sizes;
        for (Binding& binding : bindings) {
            at.push_back(reinterpret_cast<char*>(buffers[binding.buffer].data()) + binding.offset);
            sizes.push_back(binding.size);
        }
        bind(at, sizes, block.data());
        uint64_t groups = uint64_t(width) * height;
        for (uint64_t i = 0; i < groups; i++) {
            uint64_t group = descending ? groups - 1 - i : i;
            workgroup = metal::uint3(unsigned(group % width), unsigned(group / width), 0);
            run_workgroup(threads, barriers, descending);
        }
        for (size_t i = 0; i < buffers.size(); i++) std::fwrite(buffers[i].data(), lengths[i], 1, stdout);
        std::fflush(stdout);
    }
}
}  // namespace shim

namespace metal {
enum class mem_flags { mem_none, mem_device, mem_threadgroup };
inline void threadgroup_barrier(mem_flags) { shim::barrier(); }
inline mem_flags operator|(mem_flags a, mem_flags) { return a; }
}  // namespace metal

using metal::uint2;  // naga counts the iterations of loops in it.

// Metal's address spaces and its function qualifier, which the CPU does not need.
#define constant const
#define device
#define threadgroup
#define thread
#define kernel
