//! One attack over a split.

use super::AttackProgress;
use super::adversarial::{Found, on_host};
use super::progress::Verdict;
use foil::attack::{Attack, Batch, Target};
use foil::data::Resident;
use foil::distributed::World;
use foil::engine::{Network, Repeated};
use foil::guard;
use foil::loss::terms;
use foil::nn::{Mode, Noise, key_of, name_key};
use foil::scheduler::Clock;
use foil::{Error, Result};
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// One attack of an evaluation, over a split.
pub struct Trial<'a> {
    /// The row's name; keys the random numbers.
    pub name: &'a str,
    /// The attack; `None` is the clean images.
    pub attack: Option<&'a mut dyn Attack>,
    /// The images.
    pub data: &'a Resident,
    /// Images per batch.
    pub batch_size: i64,
    /// Keys the random numbers.
    pub seed: u64,
    /// Whether each [`Tick`] has the attacked images.
    pub keeps_images: bool,
}

/// Reported after each batch.
#[derive(Debug, Clone, Copy)]
pub struct Tick<'a> {
    /// The attack's results so far.
    pub progress: &'a AttackProgress,
    /// The current stage; the entry's name for a single attack.
    pub stage: &'a str,
    /// Images of the batch.
    pub images: u64,
    /// Images that the stage has still to see.
    pub left: u64,
    /// Of a trial that keeps images, those of the batch whose verdict is the one in `progress`.
    pub found: Option<&'a Found>,
}

/// A chain starts with the clean images, since it is not run on those that are already
/// misclassified.
const CLEAN: &str = "clean";

impl Trial<'_> {
    /// For each image, whether it is classified correctly under the attack, `[n]` bool, in the
    /// split's order. An output that is not finite counts as wrong; their number is logged as a
    /// warning. `tick` is called with the number of images done after each batch.
    ///
    /// # Errors
    /// What the attack reports, with its name.
    pub fn run(&mut self, network: &Network, tick: &mut dyn FnMut(u64)) -> Result<Tensor> {
        let mut progress = self.begin();
        self.advance(network, &mut progress, &mut |now| {
            tick(now.images);
            true
        })?;
        Ok(Tensor::from_slice(progress.right()))
    }

    /// The state before the first batch.
    pub fn begin(&mut self) -> AttackProgress {
        let stages = self.attack.as_mut().map(|attack| attack.stages()).unwrap_or_default();
        let names = match stages.is_empty() {
            true => vec![self.name.to_string()],
            false => std::iter::once(CLEAN.to_string()).chain(stages.into_iter().map(|(name, _)| name)).collect(),
        };
        AttackProgress::new(names, self.data.len())
    }

    /// Continues from `progress` to the end, or until `watch`, called after each batch, returns
    /// false. Returns whether it reached the end. An attack in stages runs each stage on the images
    /// that are not broken, regrouped into full batches. Neither stopping nor the batch size
    /// changes the results. Several ranks take a batch each, and all hold the same progress.
    ///
    /// # Errors
    /// What the attack reports, with its name.
    pub fn advance(
        &mut self,
        network: &Network,
        progress: &mut AttackProgress,
        watch: &mut dyn FnMut(&Tick) -> bool,
    ) -> Result<bool> {
        let _evaluating = network.evaluating();
        let (world, device) = (network.world(), network.params().device());
        let clock = Clock::new(1, 1, device);
        let key = Tensor::from(key_of(&[self.seed, name_key("eval"), name_key(self.name)])).to_device(device);
        // A captured attack sees whole batches. A chain, whose stages run on the few images that
        // are not broken, is not captured; then an attack may drop the images it has broken.
        let capturable = progress.stages.len() == 1 && self.attack.as_ref().is_none_or(|attack| attack.capturable());
        let mut batches = Repeated::new(network.capture(capturable), device, None)?;
        let shrinks = batches.is_eager();
        while !progress.is_done() {
            while !progress.todo.is_empty() {
                let started = Instant::now();
                // Each rank takes the next batch after those of the ranks before it.
                let size = self.batch_size as usize;
                let all = progress.todo.len().min(size * world.size());
                let [start, end] = [world.rank(), world.rank() + 1].map(|rank| all.min(rank * size));
                let mut mine = (Verdict { right: Vec::new(), margins: Vec::new() }, 0);
                let mut images = None;
                if start < end {
                    let rows = Tensor::from_slice(&progress.todo[start..end]).to_device(device);
                    let [x, y, index] = self.data.batch(&rows, network.params().kind(), None)?;
                    let hit = batches.run(&[&x, &y, &index], &mut |inputs| {
                        let [x, y, index] = [0, 1, 2].map(|i| inputs[i].shallow_clone());
                        let noise = Noise::new(&key, &index);
                        let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
                        self.evaluate_batch(network, &batch, progress, shrinks)
                    });
                    let named = |e: Error| e.context(format!("evaluation `{}`", self.name));
                    let hit = hit.map_err(named)?;
                    images = hit.x.as_ref().map(on_host);
                    mine = hit.read().map_err(named)?;
                }
                let (verdict, lost) = together(world, mine, start, all)?;
                let images = match self.keeps_images {
                    true => Some(gathered(world, images, self.data.shape(), start, all)?),
                    false => None,
                };
                let taken = progress.note(&verdict);
                let found = images.map(|x| {
                    let (rows, places): (Vec<i64>, Vec<i64>) = taken.into_iter().unzip();
                    Found { places, x: x.index_select(0, &Tensor::from_slice(&rows)) }
                });
                let images = verdict.right.len() as u64;
                progress.lost += lost;
                progress.seconds[progress.stage] += started.elapsed().as_secs_f64();
                let (stage, left) = (&progress.stages[progress.stage], progress.todo.len() as u64);
                let go_on = watch(&Tick { progress, stage, images, left, found: found.as_ref() });
                if stopped(world, !go_on)? {
                    return Ok(false);
                }
            }
            progress.next_stage();
        }
        if progress.lost > 0 && world.is_first() {
            let (name, lost, n) = (self.name, progress.lost, self.data.len());
            tracing::warn!(
                "evaluation `{name}`: the logits of {lost} of {n} images are not finite; they count as misclassified"
            );
        }
        Ok(true)
    }

    /// Attacks a batch with the current stage.
    fn evaluate_batch(
        &mut self,
        network: &Network,
        batch: &Batch,
        progress: &AttackProgress,
        shrinks: bool,
    ) -> Result<Hit> {
        network.start_step();
        let attack: Option<&mut dyn Attack> = match &mut self.attack {
            None => None,
            Some(attack) if progress.stages.len() == 1 => Some(&mut **attack as _),
            Some(_) if progress.stage == 0 => None,
            Some(attack) => {
                let missing = || Error::new(format!("there is no stage `{}`", progress.stages[progress.stage]));
                Some(attack.stages().into_iter().nth(progress.stage - 1).ok_or_else(missing)?.1)
            }
        };
        guard(|| {
            let target = Target::new(network, &batch.noise);
            let target = if shrinks { target.shrinking() } else { target };
            let x = match attack {
                Some(attack) => batch.unwritten(|| attack.perturb(&target, batch))?.x,
                None => batch.x.shallow_clone(),
            };
            let hit = score(&target.logits(&x, Mode::Eval), &batch.y);
            Ok(Hit { x: self.keeps_images.then_some(x), ..hit })
        })
    }
}

/// Combines what all ranks found for `all` images, of which this rank's start at `start`.
fn together(world: World, (mine, lost): (Verdict, u64), start: usize, all: usize) -> Result<(Verdict, u64)> {
    if !world.is_joined() {
        return Ok((mine, lost));
    }
    // Positions of other ranks hold 0, so the sum is the value of the rank that has it.
    let mut numbers = vec![0f32; 2 * all + 1];
    for (i, (right, margin)) in mine.right.iter().zip(&mine.margins).enumerate() {
        numbers[start + i] = f32::from(u8::from(*right));
        numbers[all + start + i] = *margin;
    }
    numbers[2 * all] = lost as f32;
    let sum = Tensor::from_slice(&numbers);
    world.sum(&sum)?;
    let numbers = Vec::<f32>::try_from(&sum)?;
    let right = numbers[..all].iter().map(|right| *right > 0.0).collect();
    Ok((Verdict { right, margins: numbers[all..2 * all].to_vec() }, numbers[2 * all] as u64))
}

/// The attacked images of all ranks, `[all, C, H, W]`, of which this one's begin at `start`.
fn gathered(world: World, mine: Option<Tensor>, shape: [i64; 3], start: usize, all: usize) -> Result<Tensor> {
    if let (false, Some(mine)) = (world.is_joined(), &mine) {
        return Ok(mine.shallow_clone());
    }
    let [c, h, w] = shape;
    let sum = Tensor::zeros([all as i64, c, h, w], (Kind::Float, Device::Cpu));
    if let Some(mine) = mine {
        sum.narrow(0, start as i64, mine.size()[0]).copy_(&mine);
    }
    world.sum(&sum)?;
    Ok(sum)
}

/// Whether any rank was stopped.
fn stopped(world: World, wish: bool) -> Result<bool> {
    if !world.is_joined() {
        return Ok(wish);
    }
    let wishes = Tensor::from_slice(&[i64::from(wish)]).to_device(Device::Cpu);
    world.sum(&wishes)?;
    Ok(wishes.int64_value(&[0]) > 0)
}

/// The results for a batch, `[N]` each.
struct Hit {
    right: Tensor,
    answered: Tensor,
    margin: Tensor,
    /// The attacked images, if they are kept.
    x: Option<Tensor>,
}

impl Hit {
    /// Reads the results from the device; also returns the number of images without finite logits.
    fn read(&self) -> Result<(Verdict, u64)> {
        guard(|| {
            let lost = self.answered.logical_not().sum(Kind::Int64).int64_value(&[]) as u64;
            let margins = self.margin.to_kind(Kind::Float).contiguous();
            Ok((Verdict { right: Vec::try_from(&self.right)?, margins: Vec::try_from(&margins)? }, lost))
        })
    }
}

/// An image is classified correctly if its largest logit is its label's. Logits that contain a NaN
/// or an infinity count as wrong: argmax would return the class of the first NaN, which may well be
/// the label.
fn score(logits: &Tensor, y: &Tensor) -> Hit {
    let answered = logits.isfinite().all_dim(-1, false);
    let margin = terms::margin(logits, y);
    let margin = margin.where_self(&answered, &margin.full_like(f64::NAN));
    Hit { right: logits.argmax(-1, false).eq_tensor(y).logical_and(&answered), answered, margin, x: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_wrong() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let logits = Tensor::from_slice2(&[[2.0, 1.0], [1.0, 2.0], [nan, 1.0], [1.0, nan], [inf, 1.0], [1.0, -inf]]);
        let hit = score(&logits, &Tensor::from_slice(&[0i64, 0, 0, 0, 0, 0]));
        let list = |t: &Tensor| Vec::<bool>::try_from(t).unwrap();
        assert_eq!(list(&hit.right), [true, false, false, false, false, false]);
        assert_eq!(list(&hit.answered), [true, true, false, false, false, false]);
        let margins = Vec::<f64>::try_from(&hit.margin).unwrap();
        assert!(margins[..2] == [1.0, -1.0] && margins[2..].iter().all(|m| m.is_nan()), "{margins:?}");
    }
}
