//! The model alone: its logits, its gradients, and that the same input gives the same bits.

use super::scene::Scene;
use super::{Finding, is_finite, same};
use foil::attack::Target;
use foil::engine::Network;
use foil::guard;
use foil::loss::terms;
use foil::nn::{KEEP_THE_GRAPH, Mode};
use tch::{Kind, Tensor};

/// What a rehearsal of a model showed.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub findings: Vec<Finding>,
    /// Whether its passes can be captured. Others may have an executor of their own, as TorchScript
    /// programs do, whose bits change while it optimises.
    pub capturable: bool,
    /// Operations of one forward pass over the made-up images.
    pub operations: f64,
    /// The modes in which its logits have a gradient with respect to the images.
    pub differentiable: Vec<Mode>,
}

/// Operations of a pass from which a model is run only in the ways that matter most: a wide ResNet
/// is then checked in two or three seconds.
const LARGE: f64 = 1e10;

pub(super) fn look(scene: &Scene) -> Seen {
    let mut seen = Seen::default();
    let found = scene.model().and_then(|network| examine(scene, &network, &mut seen)).err();
    seen.findings.extend(found);
    seen
}

fn examine(scene: &Scene, network: &Network, seen: &mut Seen) -> Result<(), Finding> {
    if !network.params().given().is_empty() {
        starts_alike(network, &scene.model()?)?;
    }
    seen.capturable = network.capturable();
    let images = scene.images();
    let (x, y, noise) = (&images.x, &images.y, &images.noise);
    let frozen = |mode: Mode| {
        network.start_step();
        guard(|| Ok(tch::no_grad(|| network.frozen(x, mode, Some(noise))))).map_err(Finding::failed)
    };
    let before = network.work().operations;
    let logits = frozen(Mode::Eval)?;
    seen.operations = network.work().operations - before;
    fit(&logits, scene)?;
    repeats(&logits, &frozen(Mode::Eval)?, Mode::Eval)?;

    let large = seen.operations > LARGE;
    for mode in if large { &[Mode::Eval][..] } else { &[Mode::Eval, Mode::Train] } {
        network.start_step();
        let target = Target::new(network, noise);
        let found = guard(|| target.gradient_if_any(x, *mode, &|z| terms::cross_entropy(z, y)));
        if let Some(gradient) = found.map_err(Finding::failed)? {
            seen.differentiable.push(*mode);
            finite(&gradient, "a gradient with respect to the images that is")?;
        }
    }
    if large {
        seen.differentiable.push(Mode::Train); // not looked at
    }

    network.start_step();
    let trained = guard(|| Ok(network.differentiable(x, Mode::Train, Some(noise)))).map_err(Finding::failed)?;
    fit(&trained, scene)?;
    if !trained.requires_grad() {
        let message = "returns logits in train mode that do not depend differentiably on its parameters";
        return Err(Finding::new(message, KEEP_THE_GRAPH));
    }
    let loss = terms::cross_entropy(&trained, y).mean(None::<Kind>);
    let gradient = guard(|| network.params().gradients(&loss)).map_err(Finding::failed)?;
    finite(&gradient.0, "a gradient with respect to its parameters that is")?;

    // What it keeps itself may well change its logits in train mode.
    if !large && !network.params().keeps_state() {
        repeats(&frozen(Mode::Train)?, &frozen(Mode::Train)?, Mode::Train)?;
    }
    Ok(())
}

/// Whether these are logits of the made-up images.
fn fit(logits: &Tensor, scene: &Scene) -> Result<(), Finding> {
    let (images, classes) = (scene.images().y.size()[0], scene.data.classes);
    let wrong = match logits.size()[..] {
        [n, k] if n == images && k == classes => None,
        [n, k] if n == images => Some(format!("returns logits of {k} classes, but the data have {classes}")),
        ref shape => Some(format!("returns {shape:?} for {images} images, but logits are [{images}, {classes}]")),
    };
    let help = "a model returns logits [N, K]; `cx.data.classes` is K in `build`";
    if let Some(wrong) = wrong {
        return Err(Finding::new(wrong, help));
    }
    if logits.kind() != Kind::Float {
        let message = format!("returns logits of {:?}, but the images are Float", logits.kind());
        return Err(Finding::new(message, "keep the kind of the input: logits.to_kind(xs.kind())"));
    }
    finite(logits, "logits that are")
}

fn finite(t: &Tensor, what: &str) -> Result<(), Finding> {
    match is_finite(t) {
        true => Ok(()),
        false => {
            let help = "look for a division by 0, a logarithm or root of 0, or weights that start too large";
            Err(Finding::new(format!("has {what} not finite, with its initial weights"), help))
        }
    }
}

fn repeats(first: &Tensor, second: &Tensor, mode: Mode) -> Result<(), Finding> {
    if same(first, second) {
        return Ok(());
    }
    let mode = format!("{mode:?}").to_lowercase();
    let message = format!("gives other logits when it runs a second time on the same images, in {mode} mode");
    Err(Finding::new(message, "take random numbers from `pass.draw(…)`, and keep nothing between calls"))
}

fn starts_alike(first: &Network, second: &Network) -> Result<(), Finding> {
    let given = first.params().given();
    let (first, second) = (first.params().state_dict(), second.params().state_dict());
    match first.iter().zip(&second).find(|((name, a), (_, b))| given.contains(name) && !same(a, b)) {
        None => Ok(()),
        Some(((name, _), _)) => {
            let message = format!("starts `{name}` with other numbers each time, whatever the seed");
            Err(Finding::new(message, "make them from `cx.seed`, for example with `Noise::seeded(&[cx.seed], …)`"))
        }
    }
}
