//! The images that an attack gets.

use crate::nn::Noise;
use crate::scheduler::{Clock, Scheduled};
use crate::{Error, Result};
use tch::Tensor;

/// The images of one step.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Images `[N, C, H, W]` in [0, 1].
    pub x: Tensor,
    /// Labels `[N]`, int64; or `[N, K]`, the share of each class, where images are mixed
    /// ([`Augment::mix`](crate::augment::Augment::mix)).
    pub y: Tensor,
    /// The images' indices in the data set `[N]`, int64.
    pub index: Tensor,
    /// Random numbers, keyed by image.
    pub noise: Noise,
    /// The run's progress and scheduled numbers.
    pub clock: &'a Clock,
    /// Train-mode logits of `x` computed before the attack, if the loss asked for
    /// [`crate::loss::Forward::CleanFirst`].
    pub clean_logits: Option<Tensor>,
}

impl Batch<'_> {
    /// A scheduled number now.
    pub fn now(&self, number: &Scheduled) -> Tensor {
        number.at(self.clock)
    }

    /// The part of the batch at `rows` `[n]`, in that order; each image keeps its random numbers.
    #[must_use]
    pub fn rows(&self, rows: &Tensor) -> Self {
        let pick = |t: &Tensor| t.index_select(0, rows);
        let (noise, clean_logits) = (self.noise.rows(rows), self.clean_logits.as_ref().map(pick));
        Self { x: pick(&self.x), y: pick(&self.y), index: pick(&self.index), noise, clock: self.clock, clean_logits }
    }

    /// The label of each image, `[N]`, int64: of a mixed one that with the largest share.
    pub fn labels(&self) -> Tensor {
        crate::loss::terms::hard_labels(&self.y)
    }

    /// `[N, C, H, W]` numbers uniform in [0, 1), keyed by `name` and image.
    pub fn uniform(&self, name: &str) -> Tensor {
        self.noise.uniform(name, &self.x.size()[1..], self.x.kind())
    }

    /// `[N, C, H, W]` standard normal numbers, keyed by `name` and image.
    pub fn normal(&self, name: &str) -> Tensor {
        self.noise.normal(name, &self.x.size()[1..], self.x.kind())
    }
}

impl Batch<'_> {
    /// Runs `attack`. It is an error if the attack writes into the images or labels, which its
    /// result is compared with.
    pub fn unwritten<T>(&self, attack: impl FnOnce() -> Result<T>) -> Result<T> {
        let versions = || [&self.x, &self.y, &self.index].map(crate::shim::version);
        let before = versions();
        let made = attack()?;
        if versions() == before {
            return Ok(made);
        }
        Err(Error::new("it writes into the images or labels it is given")
            .help("copy them first: operations whose name ends in `_` change a tensor in place"))
    }
}
