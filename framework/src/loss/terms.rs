//! Formulas that several methods share, in the field's conventions.

use tch::{Kind, Tensor};

use crate::nn::kernels::{self, CROSS_ENTROPY, LABEL_PROBABILITY, ObjectiveKernel, logit_grad};

/// Picks from `values` `[N, K]` those of the classes `class` `[N]`; returns `[N]`.
pub fn of_class(values: &Tensor, class: &Tensor) -> Tensor {
    values.gather(1, &class.unsqueeze(1), false).squeeze_dim(1)
}

/// Whether labels give each class a share, `[N, K]`, rather than one class to each image.
fn are_soft(y: &Tensor) -> bool {
    y.dim() == 2
}

/// The label of each image, `[N]`, int64, of labels `[N]` or `[N, K]`: the class with the largest
/// share, and of equal ones the first.
pub fn hard_labels(y: &Tensor) -> Tensor {
    if are_soft(y) { y.argmax(-1, false) } else { y.shallow_clone() }
}

/// Labels `[N]` or `[N, K]` as shares of `classes` classes, `[N, K]`, of `kind`.
pub fn shares(y: &Tensor, classes: i64, kind: Kind) -> Tensor {
    if are_soft(y) {
        return y.to_kind(kind);
    }
    let none = Tensor::zeros([y.size()[0], classes], (kind, y.device()));
    none.scatter_value(1, &y.unsqueeze(1), 1.0)
}

/// Cross-entropy per image, `[N]`, of `logits` `[N, K]` with labels `y` `[N]`, or `[N, K]`, of
/// which each class's share weights its own.
pub fn cross_entropy(logits: &Tensor, y: &Tensor) -> Tensor {
    if are_soft(y) {
        return -(y * logits.log_softmax(-1, None::<Kind>)).sum_dim_intlist(-1, false, None::<Kind>);
    }
    CROSS_ENTROPY.compute(logits, y).unwrap_or_else(|| -of_class(&logits.log_softmax(-1, None::<Kind>), y))
}

/// [`cross_entropy`] with smoothed labels, `[N]`: the label has 1 - `smoothing` + `smoothing`/K of
/// the weight and each other class `smoothing`/K, as in `torch.nn.CrossEntropyLoss`.
pub fn smoothed_cross_entropy(logits: &Tensor, y: &Tensor, smoothing: f64) -> Tensor {
    let sharp = cross_entropy(logits, y);
    if smoothing == 0.0 {
        return sharp;
    }
    let even = -logits.log_softmax(-1, None::<Kind>).mean_dim(-1, false, None::<Kind>);
    sharp * (1.0 - smoothing) + even * smoothing
}

/// d([`cross_entropy`])/d(logits), `[N, K]`: the probabilities, less 1 at the label, or less the
/// shares of labels `[N, K]`, which sum to 1.
pub fn cross_entropy_grad(logits: &Tensor, y: &Tensor) -> Tensor {
    if are_soft(y) {
        return logits.softmax(-1, None::<Kind>) - y;
    }
    logit_grad(logits, ObjectiveKernel::CrossEntropy(y))
        .unwrap_or_else(|| logits.softmax(-1, None::<Kind>).scatter_value_reduce_(1, &y.unsqueeze(1), -1.0, "add"))
}

/// KL(softmax `p_logits` ‖ softmax `q_logits`) per image, `[N]`: the sum over classes of p (log p -
/// log q), which is `F.kl_div(log_softmax(q), softmax(p))`. Terms with p = 0 are 0. Gradients flow
/// into both arguments.
pub fn kl(p_logits: &Tensor, q_logits: &Tensor) -> Tensor {
    kl_above(p_logits, q_logits, 0.0)
}

/// The same with log(q + `floor`) in place of log q.
pub fn kl_above(p_logits: &Tensor, q_logits: &Tensor, floor: f64) -> Tensor {
    kernels::kl(p_logits, q_logits, floor).unwrap_or_else(|| {
        let log_p = p_logits.log_softmax(-1, None::<Kind>);
        let log_q = match floor {
            0.0 => q_logits.log_softmax(-1, None::<Kind>),
            floor => (q_logits.softmax(-1, None::<Kind>) + floor).log(),
        };
        (log_p.exp() * (&log_p - log_q)).sum_dim_intlist(-1, false, None::<Kind>)
    })
}

/// d([`kl`])/d(`q_logits`), `[N, K]`: the probabilities, less the other ones.
pub fn kl_grad(p_logits: &Tensor, q_logits: &Tensor) -> Tensor {
    logit_grad(q_logits, ObjectiveKernel::Kl(p_logits))
        .unwrap_or_else(|| q_logits.softmax(-1, None::<Kind>) - p_logits.softmax(-1, None::<Kind>))
}

/// The probability of the label, `[N]`.
pub fn label_probability(logits: &Tensor, y: &Tensor) -> Tensor {
    LABEL_PROBABILITY.compute(logits, y).unwrap_or_else(|| of_class(&logits.softmax(-1, None::<Kind>), y))
}

/// The largest of `values` `[N, K]` over the classes other than `y`, `[N]`.
pub fn largest_other(values: &Tensor, y: &Tensor) -> Tensor {
    values.scatter_value(1, &y.unsqueeze(1), f64::NEG_INFINITY).amax(-1, false)
}

/// z_y minus the largest other logit per image, `[N]`: above 0 where the label is the prediction.
pub fn margin(logits: &Tensor, y: &Tensor) -> Tensor {
    of_class(logits, y) - largest_other(logits, y)
}

/// d(-max([`margin`] + `kappa`, 0))/d(logits), `[N, K]`. Classes that tie share it, as in autograd.
pub fn hinged_margin_grad(logits: &Tensor, y: &Tensor, kappa: f64) -> Tensor {
    logit_grad(logits, ObjectiveKernel::HingedMargin(y, kappa)).unwrap_or_else(|| {
        let label = y.unsqueeze(1);
        let others = logits.scatter_value(1, &label, f64::NEG_INFINITY);
        let top = others.amax(-1, true);
        let first = others.eq_tensor(&top).to_kind(logits.kind());
        let mut share = &first / first.sum_dim_intlist(-1, true, None::<Kind>);
        let open = (logits.gather(1, &label, false) - top + kappa).ge(0.0);
        share.scatter_value_(1, &label, -1.0) * open
    })
}

/// MMA's soft logit margin per image, `[N]`: logsumexp over the other classes of z, minus z_y (Ding
/// et al. 2020). Below 0 exactly where the label's probability exceeds one half.
pub fn soft_logit_margin(logits: &Tensor, y: &Tensor) -> Tensor {
    let others = logits.scatter_value(1, &y.unsqueeze(1), f64::NEG_INFINITY);
    others.logsumexp([-1i64].as_slice(), false) - of_class(logits, y)
}

/// d([`soft_logit_margin`])/d(logits), `[N, K]`.
pub fn soft_logit_margin_grad(logits: &Tensor, y: &Tensor) -> Tensor {
    logit_grad(logits, ObjectiveKernel::SoftLogitMargin(y)).unwrap_or_else(|| {
        let label = y.unsqueeze(1);
        let others = logits.scatter_value(1, &label, f64::NEG_INFINITY).softmax(-1, None::<Kind>);
        others.scatter_value(1, &label, -1.0)
    })
}
