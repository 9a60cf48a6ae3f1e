//! A model from a TorchScript file.

use crate::open::{check, interpret, not_one};
use crate::program::Program;
use foil::engine::Precision;
use foil::nn::{Given, GivenBuffer, GivenParameter};
use foil::prelude::*;
use foil::registry::FilePath;

/// An unchanged PyTorch network, trained, attacked and evaluated like any other; it starts from
/// the weights in its file.
///
/// In Python: `torch.jit.save(torch.jit.script(net), "net.pt")`. `forward` takes images
/// `[N, C, H, W]`, in [0, 1] unless `normalize` says otherwise, and returns logits `[N, K]`.
/// Parameters that require a gradient are trained; the others and floating-point buffers are kept
/// as buffers, all under their `state_dict` names. A program without trainable parameters can be
/// evaluated (`foil import`), not trained. Dropout and other random numbers of libtorch are seeded
/// for each pass.
#[settings]
pub struct TorchscriptModel {
    /// The file, relative to the folder of this config; it is copied into the run's folder.
    pub file: FilePath,
    /// Its SHA-256 in 64 hexadecimal digits; a different file is refused. `resolved.yaml` of a run
    /// contains it.
    #[set(default)]
    pub sha256: Option<String>,
}

/// The contents of a slot of the program in a pass.
enum Held {
    Parameter(GivenParameter),
    Buffer(GivenBuffer),
    /// A buffer of another kind, such as a counter.
    Kept(Tensor),
}

struct Net {
    program: Program,
    slots: Vec<(usize, Held)>,
    /// Slots that share a tensor of `slots` under another name, with the index of that slot.
    shared: Vec<(usize, usize)>,
}

impl Config<dyn Model> for TorchscriptModel {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        if cx.precision() == Precision::Bf16 {
            return Err(Error::new("the program has constants of its own, which bf16 would not convert")
                .help("write `train: { precision: tf32 }`, or fp32"));
        }
        let path = cx.file(&self.file);
        check(&path, self.sha256.as_deref())?;
        let program = Program::load(&path, cx.device).map_err(|e| not_one(&path, e.message()))?;
        trial(&program, cx).map_err(|e| e.context(path.display()))?;

        let nn = cx.builder();
        let (own, shared): (Vec<usize>, Vec<usize>) =
            (0..program.slots()).partition(|&slot| program.first(slot) == slot);
        let slots = own.into_iter().map(|slot| Ok((slot, declare(nn, &program, slot)?))).collect::<Result<Vec<_>>>()?;
        let shared = shared.into_iter().map(|slot| (slot, program.first(slot))).collect();
        Ok(Box::new(Net { program, slots, shared }))
    }
}

fn declare(nn: &Builder, program: &Program, slot: usize) -> Result<Held> {
    let (name, tensor) = (program.name(slot), program.get(slot)?.detach());
    if !tensor.is_floating_point() {
        nn.kept(&name, &tensor);
        return Ok(Held::Kept(tensor));
    }
    Ok(match nn.given(&name, &tensor, program.trains(slot)) {
        Given::Parameter(id) => Held::Parameter(id),
        Given::Buffer(id) => Held::Buffer(id),
    })
}

/// Runs two grey images: the output must be logits of the data's classes.
fn trial(program: &Program, cx: &Build) -> Result<()> {
    let [c, h, w] = [cx.inputs(), cx.data.height, cx.data.width];
    let xs = Tensor::full([2, c, h, w], 0.5, (Kind::Float, cx.device));
    interpret()?;
    let out = tch::no_grad(|| program.forward(false, &xs))
        .map_err(|e| Error::new(format!("it does not run on images [2, {c}, {h}, {w}]: {}", last_line(e.message()))))?;
    let expected = [2, cx.data.classes];
    if out.size() != expected || !out.is_floating_point() {
        let found = out.size();
        return Err(Error::new(format!("it returns {found:?} for two images, but must return logits {expected:?}"))
            .help("the data set decides the number of classes; probabilities and lists of outputs are not logits"));
    }
    Ok(())
}

/// libtorch's message, which follows the program's traceback.
fn last_line(message: &str) -> &str {
    message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(message).trim()
}

impl Held {
    fn tensor<'a>(&'a self, pass: &'a Pass) -> &'a Tensor {
        match self {
            Self::Parameter(id) => pass.parameter(*id),
            Self::Buffer(id) => pass.given_buffer(*id),
            Self::Kept(tensor) => tensor,
        }
    }
}

impl Net {
    fn run(&self, pass: &Pass, xs: &Tensor) -> Result<Tensor> {
        for (slot, held) in &self.slots {
            match held {
                Held::Parameter(id) => self.program.set(*slot, pass.parameter(*id))?,
                // A pass that will be differentiated must keep the buffers it used, whatever later
                // passes do to them.
                Held::Buffer(_) | Held::Kept(_) => self.program.set(*slot, &held.tensor(pass).copy())?,
            }
        }
        for &(slot, first) in &self.shared {
            self.program.set(slot, &self.program.get(first)?)?;
        }
        if self.program.is_random()
            && let Some(seed) = pass.seed()
        {
            tch::manual_seed(seed);
        }
        let is_norm = |(slot, _): &(usize, Held)| self.program.name(*slot).ends_with("running_mean");
        if pass.selected().is_some() && self.slots.iter().any(is_norm) {
            return Err(Error::new(
                "its batch norm sees the whole batch, not a part of it; write `search_statistics: batch` in the attack",
            ));
        }
        interpret()?;
        let train = pass.mode() == Mode::Train;
        // A copy, because attacks and evaluation use the same images, and the program may write
        // into its input.
        let out = self.program.forward(train, &xs.copy())?;
        for (slot, held) in self.slots.iter().filter(|(_, held)| train && !matches!(held, Held::Parameter(_))) {
            let now = self.program.get(*slot)?.detach();
            tch::no_grad(|| held.tensor(pass).shallow_clone().f_copy_(&now))?;
        }
        Ok(out)
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        // As tch's operators do; the engine turns it into an error.
        self.run(pass, xs).unwrap_or_else(|e| panic!("the TorchScript model: {}", last_line(e.message())))
    }

    /// foil cannot know what the program does, and it reads a seed from the device.
    fn capturable(&self) -> bool {
        false
    }
}

register!(dyn Model, "torchscript", TorchscriptModel, "{ file: net.pt }");
