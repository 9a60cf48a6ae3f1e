// A TorchScript module whose tensors can be exchanged: tch runs modules, but shows only their
// parameters.
//
// Tensors are tch's: pointers to at::Tensor. Those that are handed out are new and belong to the
// caller. No exception crosses into Rust: functions that can fail return null, or a message that
// the caller gives back to `foil_program_free_text`.
#include "guard.h"
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/serialization/import.h>
#include <unordered_map>

using Object = c10::intrusive_ptr<c10::ivalue::Object>;

namespace {

// Where a tensor of the module, or of one within it, lies.
struct Slot {
    std::string name;
    Object owner;
    size_t at;
    bool trains;
    size_t first; // the first slot with the same tensor: itself, unless weights are shared

    at::Tensor tensor() const { return owner->getSlot(at).toTensor(); }
};

bool draws(const torch::jit::Block* block) {
    for (const auto* node : block->nodes()) {
        if (node->isNondeterministic()) return true;
        for (const auto* inner : node->blocks())
            if (draws(inner)) return true;
    }
    return false;
}

} // namespace

struct Program {
    torch::jit::Module module;
    std::vector<Slot> slots;
    std::vector<std::pair<Object, size_t>> modes; // the flags `training`
    bool random = true;
};

extern "C" {

void foil_program_free_text(char* text) { free(text); }
void foil_program_free(Program* program) { delete program; }

// Loads a file onto a device: -1 is the CPU, otherwise CUDA's number.
char* foil_program_load(const char* path, int device, Program** out) {
    return guarded([&] {
        auto on = device < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device));
        auto program = std::make_unique<Program>(Program{torch::jit::load(path, on)});
        std::unordered_map<c10::TensorImpl*, size_t> seen;
        for (const auto& item : program->module.named_modules()) {
            auto type = item.value.type();
            auto owner = item.value._ivalue();
            for (size_t at = 0; at < type->numAttributes(); ++at) {
                auto name = (item.name.empty() ? "" : item.name + ".") + type->getAttributeName(at);
                if (type->getAttributeName(at) == "training" && owner->getSlot(at).isBool())
                    program->modes.emplace_back(owner, at);
                if (!(type->is_parameter(at) || type->is_buffer(at)) || !owner->getSlot(at).isTensor()) continue;
                auto tensor = owner->getSlot(at).toTensor();
                if (!tensor.defined()) continue;
                auto first = seen.emplace(tensor.unsafeGetTensorImpl(), program->slots.size()).first->second;
                bool trains = type->is_parameter(at) && tensor.is_floating_point() && tensor.requires_grad();
                program->slots.push_back({name, owner, at, trains, first});
            }
        }
        auto graph = program->module.get_method("forward").graph()->copy();
        torch::jit::Inline(*graph);
        program->random = draws(graph->block());
        *out = program.release();
    });
}

size_t foil_program_slots(const Program* program) { return program->slots.size(); }
const char* foil_program_name(const Program* program, size_t slot) { return program->slots[slot].name.c_str(); }
bool foil_program_trains(const Program* program, size_t slot) { return program->slots[slot].trains; }
size_t foil_program_first(const Program* program, size_t slot) { return program->slots[slot].first; }
bool foil_program_is_random(const Program* program) { return program->random; }

char* foil_program_get(const Program* program, size_t slot, at::Tensor** out) {
    return guarded([&] { *out = new at::Tensor(program->slots[slot].tensor()); });
}

char* foil_program_set(Program* program, size_t slot, const at::Tensor* tensor) {
    return guarded([&] { program->slots[slot].owner->setSlot(program->slots[slot].at, *tensor); });
}

char* foil_program_forward(Program* program, bool train, const at::Tensor* xs, at::Tensor** out) {
    return guarded([&] {
        for (auto& [owner, at] : program->modes) owner->setSlot(at, train);
        auto value = program->module.forward({*xs});
        TORCH_CHECK(value.isTensor(), "forward returns ", value.tagKind(), ", not a tensor");
        TORCH_CHECK(value.toTensor().defined(), "forward returns a tensor that was never computed");
        *out = new at::Tensor(value.toTensor());
    });
}

}
