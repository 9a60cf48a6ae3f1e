// A node of autograd whose backward pass is a closure of the caller's.
#include "guard.h"
#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

using at::Tensor;
using torch::autograd::variable_list;

// Writes the gradients of a node's inputs, from those of its outputs; null is none, and whoever
// gets a tensor owns it. Null, or a message for `free`.
using Backward = char* (*)(void* closure, Tensor* const* given, int64_t outputs, Tensor** found, int64_t inputs);

namespace {

struct Closure : torch::autograd::Node {
    std::string title;
    void* closure;
    Backward backward;
    void (*drop)(void*);
    // Of inputs and outputs, which the closure may hold: a change in place would make its gradients
    // wrong.
    std::vector<std::pair<c10::VariableVersion, uint32_t>> versions;

    Closure(const char* title, void* closure, Backward backward, void (*drop)(void*))
        : title(title), closure(closure), backward(backward), drop(drop) {}
    ~Closure() override { release_variables(); }

    std::string name() const override { return title; }

    void watch(const Tensor& tensor) {
        const auto& version = torch::autograd::impl::version_counter(tensor);
        versions.emplace_back(version, version.current_version());
    }

    void release_variables() override {
        std::lock_guard<std::mutex> held(mutex_);
        if (closure) drop(closure);
        closure = nullptr;
    }

    variable_list apply(variable_list&& gradients) override {
        std::lock_guard<std::mutex> held(mutex_);
        TORCH_CHECK(closure, title, ": a graph is gone after its backward pass");
        TORCH_CHECK(!at::GradMode::is_enabled(), title, ": there is no second derivative");
        for (const auto& [version, then] : versions)
            TORCH_CHECK(version.current_version() == then, title, ": an input or output was changed in place before the backward pass");
        std::vector<Tensor*> given, found(num_outputs(), nullptr);
        for (auto& gradient : gradients) given.push_back(gradient.defined() ? new Tensor(std::move(gradient)) : nullptr);
        char* message = backward(closure, given.data(), given.size(), found.data(), found.size());
        variable_list all;
        for (auto* gradient : found) {
            std::unique_ptr<Tensor> owned(gradient);
            all.push_back(owned ? std::move(*owned) : Tensor());
        }
        if (message) {
            std::string text(message);
            std::free(message);
            TORCH_CHECK(false, text);
        }
        return all;
    }
};

} // namespace

extern "C" {

// Makes `outputs`, which were computed without autograd, functions of `inputs`, and writes them to
// `out`; if autograd asks for that here. `drop` is called once with the closure, which may be at
// once.
char* foil_node(Tensor** out, const Tensor* const* outputs, int64_t n_outputs, const Tensor* const* inputs, int64_t n_inputs, const char* title,
                void* closure, Backward backward, void (*drop)(void*)) {
    return guarded([&] {
        std::shared_ptr<Closure> node(new Closure(title, closure, backward, drop), torch::autograd::deleteNode);
        variable_list from, to;
        for (int64_t i = 0; i < n_inputs; ++i) from.push_back(*inputs[i]);
        // Not the outputs themselves: the closure may hold those, and a node that holds what holds
        // it is never freed.
        for (int64_t i = 0; i < n_outputs; ++i) to.push_back(outputs[i]->detach());
        if (torch::autograd::compute_requires_grad(from)) {
            node->set_next_edges(torch::autograd::collect_next_edges(from));
            for (const auto& tensor : to) torch::autograd::set_history(tensor, node);
            for (const auto& tensor : from) node->watch(tensor);
            for (const auto& tensor : to) node->watch(tensor);
        }
        for (int64_t i = 0; i < n_outputs; ++i) out[i] = new Tensor(to[i]);
    });
}
}
