//! What a run's attack does to images: digits, attacked digits, the perturbation, and for CAT mask
//! and calibrated digits, as in Figure 2 of the CAT paper.

use super::picture::{Grid, GridRow, Image, Palette, PictureError, Tone, shown_channels};
use foil::attack::{Attack, Batch, Target};
use foil::engine::Network;
use foil::guard;
use foil::nn::Mode;
use foil::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Pixels at a mask's edge that do not count.
const EDGE: i64 = 3;

/// How an image's values are shown.
#[derive(Clone, Copy)]
enum Shown {
    Picture,
    Change,
    Mask,
}

/// Runs `attack` on `batch` and lays out the result, with the network's predictions under each
/// picture.
///
/// # Errors
/// What the attack reports.
pub fn gallery(network: &Network, attack: &mut dyn Attack, batch: &Batch, class_names: &[String]) -> Result<Grid> {
    let target = Target::new(network, &batch.noise);
    let made = guard(|| attack.perturb(&target, batch))?;
    let attacked = made.side.get("x_adv").unwrap_or(&made.x);
    let delta = attacked - &batch.x;
    let mut rows = vec![
        ("natural", &batch.x, Shown::Picture),
        ("attacked", attacked, Shown::Picture),
        ("perturbation", &delta, Shown::Change),
    ];
    if let Some(mask) = made.side.get("mask") {
        rows.push(("mask", mask, Shown::Mask));
        rows.push(("calibrated", &made.x, Shown::Picture));
    }
    // The images are unchanged: nothing more to show.
    if delta.abs().max().double_value(&[]) == 0.0 && !made.side.contains_key("mask") {
        rows.truncate(1);
    }
    let limit = delta.abs().max().double_value(&[]).max(1e-6) as f32;
    let grid = rows.into_iter().map(|(label, images, shown)| {
        let predicted = match shown {
            Shown::Picture => Some(target.logits(images, Mode::Eval).argmax(-1, false)),
            _ => None,
        };
        let images = (0..images.size()[0]).map(|i| {
            let image = picture(&images.get(i), shown, limit)?;
            Ok(Some(match &predicted {
                Some(predicted) => {
                    let (class, truth) = (predicted.int64_value(&[i]), batch.y.int64_value(&[i]));
                    image.caption(name(class, class_names), if class == truth { Tone::Right } else { Tone::Wrong })
                }
                None => image,
            }))
        });
        Ok(GridRow { label: label.to_string(), images: images.collect::<Result<_, PictureError>>()? })
    });
    let rows = grid.collect::<Result<Vec<_>, PictureError>>().map_err(Error::of)?;
    Ok(Grid { rows, ..Grid::default() })
}

/// The images of `batch` with their labels.
///
/// # Errors
/// When they cannot be shown.
pub fn natural(batch: &Batch, class_names: &[String]) -> Result<GridRow> {
    let images = (0..batch.x.size()[0]).map(|i| {
        let class = batch.y.int64_value(&[i]);
        Ok(Some(picture(&batch.x.get(i), Shown::Picture, 1.0)?.caption(name(class, class_names), Tone::Neutral)))
    });
    row("natural", images)
}

/// What `attack` makes of the images of `batch` for the network, with its predictions.
///
/// # Errors
/// What the attack reports.
pub fn attacked(
    label: &str,
    network: &Network,
    attack: &mut dyn Attack,
    batch: &Batch,
    class_names: &[String],
) -> Result<GridRow> {
    let target = Target::new(network, &batch.noise);
    let made = guard(|| attack.perturb(&target, batch))?;
    let predicted = target.logits(&made.x, Mode::Eval).argmax(-1, false);
    let images = (0..made.x.size()[0]).map(|i| {
        let (class, truth) = (predicted.int64_value(&[i]), batch.y.int64_value(&[i]));
        let tone = if class == truth { Tone::Right } else { Tone::Wrong };
        Ok(Some(picture(&made.x.get(i), Shown::Picture, 1.0)?.caption(name(class, class_names), tone)))
    });
    row(label, images)
}

/// The masks of an attack that has them; `None` if their values all lie within `spread`, the edges
/// aside: then there is nothing to see.
///
/// # Errors
/// What the attack reports.
pub fn mask(
    label: &str,
    network: &Network,
    attack: &mut dyn Attack,
    batch: &Batch,
    spread: f64,
) -> Result<Option<GridRow>> {
    let target = Target::new(network, &batch.noise);
    let made = guard(|| attack.perturb(&target, batch))?;
    let Some(mask) = made.side.get("mask") else { return Ok(None) };
    // A convolution sees the zeros around an image, so that the mask's edge says nothing.
    let inner = [2, 3].into_iter().fold(mask.shallow_clone(), |mask, side| {
        let pixels = mask.size()[side as usize];
        let edge = EDGE.min((pixels - 1) / 2);
        mask.narrow(side, edge, pixels - 2 * edge)
    });
    if (inner.max() - inner.min()).double_value(&[]) < spread {
        return Ok(None);
    }
    let images = (0..mask.size()[0]).map(|i| Ok(Some(picture(&mask.get(i), Shown::Mask, 1.0)?)));
    row(label, images).map(Some)
}

fn row(label: &str, images: impl Iterator<Item = Result<Option<Image>, PictureError>>) -> Result<GridRow> {
    Ok(GridRow { label: label.to_string(), images: images.collect::<Result<_, _>>().map_err(Error::of)? })
}

fn name(class: i64, class_names: &[String]) -> String {
    class_names.get(class as usize).cloned().unwrap_or_else(|| class.to_string())
}

fn picture(image: &Tensor, shown: Shown, limit: f32) -> Result<Image, PictureError> {
    let image = image.narrow(0, 0, shown_channels(image.size()[0] as usize) as i64);
    let size: Vec<usize> = image.size().iter().map(|&n| n as usize).collect();
    let flat = image.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view(-1);
    let mut values = vec![0f32; flat.numel()];
    flat.copy_data(&mut values, flat.numel());
    let image = Image::new(size[0], size[1], size[2], values)?;
    Ok(match shown {
        Shown::Picture => image,
        Shown::Change => image.palette(Palette::Diverging { limit }),
        Shown::Mask => image.palette(Palette::Sequential { limit: 1.0 }),
    })
}
