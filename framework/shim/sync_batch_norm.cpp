// Batch norm over the images of all ranks, as one differentiable operator.
//
// Forward: y = (x - mean) / sqrt(var + eps) · weight + bias with the statistics of all ranks'
// images; one sum over the ranks of 2C + 1 numbers, in double, of which the variance is the small
// difference of two large ones. Backward: d(sum of all ranks' losses)/dx, which takes a second sum,
// of 2C numbers; the gradients of weight and bias are those of this rank's images alone.
#include "guard.h"
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Replaces the tensor by its sum over the ranks; null, or a message for `free`.
using Sum = char* (*)(const void* ranks, const Tensor* tensor);

namespace {

struct Ranks {
    const void* ranks;
    Sum sum;
    bool counts; // whether this rank's images count; those that keep an idle rank in step do not

    void operator()(Tensor& tensor) const {
        if (!counts) tensor.zero_();
        if (char* message = sum(ranks, &tensor)) {
            std::string text(message);
            std::free(message);
            throw std::runtime_error(text);
        }
    }
};

const std::vector<int64_t> OVER{0, 2, 3};

// `[C]` against `[N, C, H, W]`, in x's kind.
Tensor along(const Tensor& values, const Tensor& x) { return values.to(x.scalar_type()).view({1, -1, 1, 1}); }

// Half-precision images are summed in 32 bits.
Tensor wide(const Tensor& x) { return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat); }

// Of `[N]` booleans, where they are false, against `[N, C, H, W]`.
Tensor left_out(const Tensor& selected) { return selected.logical_not().view({-1, 1, 1, 1}); }

// Mean, variance and number of this rank's values by channel, of the selected images if there is a
// selection, in double.
std::tuple<Tensor, Tensor, Tensor> moments(const Tensor& x, const Tensor& selected) {
    if (!selected.defined()) {
        auto [var, mean] = at::var_mean(x, OVER, /*unbiased=*/false);
        auto count = at::full({1}, static_cast<double>(x.numel() / x.size(1)), mean.options().dtype(at::kDouble));
        return {mean.to(at::kDouble), var.to(at::kDouble), count};
    }
    auto out = left_out(selected);
    auto count = (selected.sum(at::kDouble) * static_cast<double>(x.size(2) * x.size(3))).view({1});
    auto least = count.clamp_min(1);
    auto mean = x.masked_fill(out, 0).sum(OVER).to(at::kDouble) / least;
    auto var = (x - along(mean, x)).square().masked_fill(out, 0).sum(OVER).to(at::kDouble) / least;
    return {mean, var, count};
}

struct SyncBatchNorm : torch::autograd::Function<SyncBatchNorm> {
    static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor running_mean,
                          Tensor running_var, double momentum, double eps, std::optional<Tensor> chosen, Ranks sum) {
        auto selected = chosen.value_or(Tensor());
        auto [mean, var, count] = moments(wide(x), selected);
        auto sums = at::cat({count * mean, count * (var + mean * mean), count});
        sum(sums);
        auto channels = x.size(1);
        count = sums.narrow(0, 2 * channels, 1);
        if (!selected.defined()) {
            mean = sums.narrow(0, 0, channels) / count;
            var = (sums.narrow(0, channels, channels) / count - mean * mean).clamp_min(0);
            running_mean.mul_(1 - momentum).add_(mean * momentum);
            running_var.mul_(1 - momentum).add_(var * (count / (count - 1)) * momentum); // unbiased, as PyTorch keeps it
        } else {
            // Without a selected image anywhere the running statistics serve, and stay. Nothing is
            // read by the host.
            auto any = count > 0;
            auto rate = any.to(at::kDouble) * momentum;
            auto least = count.clamp_min(1);
            mean = at::where(any, sums.narrow(0, 0, channels) / least, running_mean.to(at::kDouble));
            var = (sums.narrow(0, channels, channels) / least - mean * mean).clamp_min(0);
            var = at::where(any, var, running_var.to(at::kDouble));
            running_mean.mul_(1 - rate).add_(mean * rate);
            running_var.mul_(1 - rate).add_(var * (least / (count - 1).clamp_min(1)) * rate);
            count = least;
        }

        auto inverse_std = (var + eps).rsqrt();
        context->save_for_backward({x, weight, mean, inverse_std, count, selected});
        context->saved_data["ranks"] = reinterpret_cast<int64_t>(sum.ranks);
        context->saved_data["sum"] = reinterpret_cast<int64_t>(sum.sum);
        context->saved_data["counts"] = sum.counts;
        auto scale = weight.to(at::kDouble) * inverse_std;
        return x * along(scale, x) + along(bias.to(at::kDouble) - mean * scale, x);
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        auto saved = context->get_saved_variables();
        auto x = saved[0], weight = saved[1], mean = saved[2], inverse_std = saved[3], count = saved[4], selected = saved[5];
        Ranks sum{reinterpret_cast<const void*>(context->saved_data["ranks"].toInt()),
                  reinterpret_cast<Sum>(context->saved_data["sum"].toInt()), context->saved_data["counts"].toBool()};
        auto dy = wide(gradients[0]);
        auto centred = wide(x) - along(mean, dy);
        auto d_bias = dy.sum(OVER);
        auto d_weight = (dy * centred).sum(OVER) * inverse_std.to(dy.scalar_type());
        auto sums = at::cat({d_bias, d_weight}).to(at::kDouble);
        sum(sums);
        auto channels = x.size(1);
        auto shift = sums.narrow(0, 0, channels) / count;
        auto slope = sums.narrow(0, channels, channels) / count * inverse_std;
        auto by_statistics = along(shift, dy) + centred * along(slope, dy);
        // Only these moved the statistics.
        if (selected.defined()) by_statistics.masked_fill_(left_out(selected), 0);
        auto dx = (dy - by_statistics) * along(weight.to(at::kDouble) * inverse_std, dy);
        Tensor none;
        return {dx.to(x.scalar_type()), d_weight.to(weight.scalar_type()), d_bias.to(weight.scalar_type()), none, none, none, none, none, none};
    }
};

} // namespace

extern "C" {

// `x` `[N, C, H, W]`; the running statistics `[C]` are moved. `selected` is null, or `[N]`
// booleans: the images whose statistics normalise all. `ranks` must outlive the backward pass.
char* foil_sync_batch_norm(Tensor** out, const Tensor* x, const Tensor* weight, const Tensor* bias, const Tensor* running_mean,
                           const Tensor* running_var, double momentum, double eps, const Tensor* selected,
                           const void* ranks, Sum sum, bool counts) {
    return guarded([&] {
        auto chosen = selected ? std::optional<Tensor>(*selected) : std::nullopt;
        Ranks over{ranks, sum, counts};
        *out = new Tensor(SyncBatchNorm::apply(*x, *weight, *bias, *running_mean, *running_var, momentum, eps, chosen, over));
    });
}
}
