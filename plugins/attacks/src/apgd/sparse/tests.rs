use super::*;
use foil::testing::{assert_close, attack_from_yaml};
use std::cell::RefCell;
use tch::Device;

fn row(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).view([1, 1, 1, -1])
}

// The fact sheet's numbers: theta is .3, so two numbers move, each by half the step. In the second
// step u is (.4, 0, -.3, 0), which loses .2 each.
#[test]
fn two_steps_by_hand() {
    let (x, gradient, half) = (row(&[0.5, 0.9, 0.1, 0.4]), row(&[0.3, -0.1, -0.5, 0.2]), Tensor::from_slice(&[0.5]));
    let within = |eps: f64| Ball::new(Norm::L1, &x, &Tensor::from(eps), true);
    let step = sparse_sign(&gradient, &half) * 0.4;
    assert_close(&step, &row(&[0.2, 0.0, -0.2, 0.0]), 1e-9);
    let next = within(0.6).project(&(&x + &step));
    assert_close(&next, &row(&[0.7, 0.9, 0.0, 0.4]), 1e-9);
    assert_close(&within(0.3).project(&(next + step)), &row(&[0.7, 0.9, 0.0, 0.4]), 1e-9);
}

#[test]
fn large_radii_take_thirty_percent_each() {
    let of = |steps: u32, large: bool| {
        let (first, others) = stages(steps, large);
        std::iter::once(first).chain(others).map(|stage| (stage.times, stage.steps)).collect::<Vec<_>>()
    };
    assert_eq!(of(100, true), [(3.0, 30), (2.0, 30), (1.0, 40)]);
    assert_eq!(of(5, true), [(3.0, 2), (2.0, 2), (1.0, 1)]);
    assert_eq!(of(1, true), [(3.0, 1), (2.0, 0), (1.0, 0)]);
    assert_eq!(of(5, false), [(1.0, 5)]);
}

/// Logits tanh(x A) B, four classes.
struct Bent;

fn count(n: i64) -> Tensor {
    Tensor::arange_start(1, n + 1, (Kind::Double, Device::Cpu))
}

impl Model for Bent {
    fn forward(&self, _: &Pass, xs: &Tensor) -> Tensor {
        let (a, b) = (count(96).sin().view([12, 8]) * 2.0, count(32).cos().view([8, 4]) * 2.0);
        xs.flatten(1, -1).matmul(&a).tanh().matmul(&b)
    }
}

/// What the attack makes of four images, with the iterates, and which were broken.
fn attacked(yaml: &str) -> (Tensor, Vec<Tensor>, Tensor) {
    let network = Network::new(Box::new(Bent), Builder::default(), None, Kind::Double, Device::Cpu);
    let index = Tensor::arange(4, (Kind::Int64, Device::Cpu));
    let mut noise = nn::Noise::new(&Tensor::from(0i64), &index);
    let squares = count(48).square();
    noise.give("apgd_ce.1.start", squares.cos().view([4, 1, 3, 4]));
    let clock = Clock::new(1, 1, Device::Cpu);
    let (x, y) = (squares.sin().abs().view([4, 1, 3, 4]), Tensor::from_slice(&[2i64, 2, 0, 1]));
    let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
    let iterates = RefCell::default();
    let target = Target::new(&network, &batch.noise);
    let found = attack_from_yaml(yaml, Kind::Double).perturb(&target.recording(&iterates), &batch).unwrap();
    (found.x.view([4, 12]), iterates.into_inner(), found.broken.unwrap())
}

// The fact sheet in PyTorch, float64, one image at a time:
// A = torch.sin(torch.arange(1., 97.)).view(12, 8) * 2
// B = torch.cos(torch.arange(1., 33.)).view(8, 4) * 2
// net = lambda x: torch.tanh(x.flatten(1) @ A) @ B
// t = torch.arange(1., 49.) ** 2; x = torch.sin(t).abs().view(4, 12)
// noise = torch.cos(t).view(4, 12)
// def pi(x, u, e):                      # walks along the places where h breaks
//     a = u.abs(); o = torch.relu(x + u - 1) + torch.relu(-x - u)
//     both = list(zip(a.tolist(), o.tolist())); s = 0.
//     h = lambda s: sum(ai - min(max(oi, s), ai) for ai, oi in both)
//     if h(0.) > e:
//         places = sorted([0.] + a.tolist() + o.tolist())
//         for low, high in zip(places, places[1:]):
//             if h(high) <= e:
//                 s = low + (h(low) - e) / (h(low) - h(high)) * (high - low); break
//     return torch.sign(u) * (a - torch.minimum(torch.maximum(o, torch.tensor(s)), a))
// def run(x, y, xk, e, n_iter, q, sp):   # sp: the reference sparsity
//     n = x.numel(); s = e; k = max(int(.04 * n_iter), 1)
//     g, best, wrong = look(xk); xb, gb = xk, g; last = xk if wrong else None
//     for i in range(1, n_iter + 1):
//         theta = sorted(g.abs().tolist())[min(max(math.floor((1 - q) * n), 0), n - 1)]
//         d = torch.sign(torch.where(g.abs() >= theta, g, 0.))
//         d = d / (d.abs().sum() + 1e-10)
//         xk = x + pi(x, xk + s * d - x, e)
//         g, v, wrong = look(xk)          # gradient, cross-entropy, misclassified
//         if wrong: last = xk
//         if v > best: best, xb, gb = v, xk, g
//         if i % k == 0:
//             c = (xb != x).sum().item()
//             if sp > 0 and c / sp < .95: s, xk, g = e, xb, gb
//             else: s = s / 1.5
//             s = min(max(s, e / 10), e); q = c / n / 1.5; sp = c
//     return xb, last
//
// These numbers are AutoAttack's own: APGDAttack.attack_single_run and L1_projection of
// fra31/auto-attack 1df1dab (autoattack/autopgd_base.py) in float64, within 2.4, 1.6 and .8 for 18,
// 18 and 24 steps as in its decr_eps_pgd, from x + L1_projection(x, noise, 2.4). Their share is two
// thirds of what the start changes, in the first ball too.
#[test]
fn the_evaluations_run_equals_autoattacks() {
    #[rustfmt::skip]
    let expected = Tensor::from_slice(&[
            0.841470984808, 1.0, 0.412118485242, 0.0, 0.132351750098, 1.0,
            0.953752652759, 0.920026038197, 0.629887994274, 0.50636564111, 0.738137192638, 0.491021593898,
            0.601999867678, 1.0, 0.930094878005, 0.999208034107, 0.026521020286, 0.404065219456,
            0.27938655436, 0.850919359639, 0.923470012926, 0.193502966742, 0.196942491964, 0.885952778493,
            0.176016272834, 0.0, 0.149936817113, 1.0, 0.811568164468, 0.997803274422,
            0.321536773676, 0.158533380044, 0.905539998498, 0.105897587626, 0.475339090036, 0.995675792936,
            0.670139683938, 0.905527209016, 0.452133339532, 0.161149565503, 0.24539810131, 1.0,
            0.985120367737, 0.54259942048, 0.970491686335, 0.990582608362, 0.444274712232, 0.936525401182,
    ]);
    let (x, iterates, broken) = attacked("{ type: apgd, norm: L1, eps: 0.8, steps: 60 }");
    assert_close(&x, &expected.view([4, 12]), 1e-10);
    assert_eq!(iterates.len(), 63);
    assert_eq!(Vec::<bool>::try_from(&broken).unwrap(), [true; 4]);
}

// run(x, y, x, 1.2, 10, .05, 12)[0]
#[test]
fn the_run_of_training_equals_pytorch() {
    #[rustfmt::skip]
    let expected = Tensor::from_slice(&[
            0.841470984808, 1.0, 0.412118485242, 0.287903316665, 0.132351750098, 0.991778853443,
            0.953752652759, 0.920026038197, 0.629887994274, 0.50636564111, 0.998815224724, 0.491021593898,
            0.601999867678, 0.93953005557, 0.930094878005, 0.999208034107, 0.026521020286, 0.404065219456,
            0.27938655436, 0.850919359639, 1.0, 0.193502966742, 0.936472547534, 0.885952778493,
            0.176016272834, 0.529133844363, 0.149936817113, 1.0, 0.811568164468, 0.997803274422,
            0.321536773676, 0.158533380044, 0.905539998498, 0.105897587626, 0.219337028338, 0.995675792936,
            0.670139683938, 0.905527209016, 0.452133339532, 0.801224790677, 0.24539810131, 1.0,
            0.985120367737, 0.702515057547, 0.970491686335, 0.990582608362, 0.444274712232, 0.936525401182,
    ]);
    let training = "steps: 10, start: none, keep: worst, share: 0.05, large_radii: false";
    let (x, iterates, _) = attacked(&format!("{{ type: apgd, norm: L1, eps: 1.2, {training} }}"));
    assert_close(&x, &expected.view([4, 12]), 1e-10);
    assert_eq!(iterates.len(), 11);
}
