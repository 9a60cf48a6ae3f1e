//! One augmentation, twice from the same seed.

use super::scene::Scene;
use super::{Finding, is_finite, same};
use foil::augment::{Augment, Mixed};
use foil::guard;
use foil::loss::terms;
use foil::registry::Component;
use foil::shim::version;
use tch::{Kind, Tensor};

/// What is wrong with it.
pub(super) fn look(scene: &Scene, component: &Component<dyn Augment>) -> Result<(), Finding> {
    let augment = scene.augment(component)?;
    let both = [run(scene, augment.as_ref())?, run(scene, augment.as_ref())?];
    if both[0].iter().zip(&both[1]).all(|(first, second)| same(first, second)) {
        return Ok(());
    }
    let message = "gives other images when it runs a second time from the same seed";
    Err(Finding::new(message, "random numbers come from `noise`"))
}

/// What it makes of made-up images.
fn run(scene: &Scene, augment: &dyn Augment) -> Result<Vec<Tensor>, Finding> {
    let images = scene.images();
    let bytes = (&images.x * 255.0).round().to_kind(Kind::Uint8);
    let labels = terms::shares(&images.y, scene.data.classes, Kind::Float);
    let (given, made) = if guard(|| Ok(augment.mixes())).map_err(Finding::failed)? {
        let given = vec![images.x.shallow_clone(), labels.shallow_clone()];
        let mix = || augment.mix(Mixed { x: images.x.shallow_clone(), y: labels }, &images.noise);
        let versions: Vec<u64> = given.iter().map(version).collect();
        let mixed = guard(mix).map_err(Finding::failed)?;
        unwritten(&given, &versions)?;
        (given, vec![mixed.x, mixed.y])
    } else {
        let (given, versions) = (vec![bytes.shallow_clone()], vec![version(&bytes)]);
        let made = guard(|| augment.images(&bytes, &images.noise)).map_err(Finding::failed)?;
        unwritten(&given, &versions)?;
        (given, vec![made])
    };
    for (given, made) in given.iter().zip(&made) {
        if made.size() != given.size() || made.kind() != given.kind() {
            let [found, expected] = [made, given].map(|t| format!("{:?} of {:?}", t.size(), t.kind()));
            return Err(Finding::new(format!("returns {found}, but must return {expected}"), ""));
        }
        if !is_finite(made) {
            return Err(Finding::new("returns numbers that are not finite", "look for a division by 0"));
        }
    }
    if let [_, labels] = made.as_slice()
        && (labels.sum_dim_intlist(-1, false, Kind::Double) - 1.0).abs().max().double_value(&[]) > 1e-4
    {
        return Err(Finding::new("returns labels whose shares do not sum to 1", "weight labels as their images"));
    }
    Ok(made)
}

fn unwritten(given: &[Tensor], versions: &[u64]) -> Result<(), Finding> {
    if given.iter().map(version).eq(versions.iter().copied()) {
        return Ok(());
    }
    let help = "copy them first: operations whose name ends in `_` change a tensor in place";
    Err(Finding::new("writes into the images or labels it is given", help))
}
