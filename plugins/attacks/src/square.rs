//! Square: random search that needs no gradient.
//!
//! Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random
//! search", ECCV 2020, arXiv:1912.00049, Algorithms 1 to 3; start and schedule as in AutoAttack's
//! code.

mod windows;

use crate::ball::{check_radius, refuse_l1};
use crate::chain::Chain;
use crate::live::Live;
use foil::prelude::*;
use windows::{Draws, l2, l2_start, linf, linf_start};

/// The Square attack (Andriushchenko et al. 2020): squares of the image are changed at random, and
/// a change stays if the margin falls.
///
/// The margin is z_y minus the largest other logit. Linf: it starts with vertical stripes of ±eps;
/// each query adds ±2 eps, one sign for each channel, in a square, and clips to the ball and to [0,
/// 1]. L2: it starts with a grid of bumps; each query moves the length of one square into another.
/// The square's side is √(p · pixels), where p begins at `p_init` and is halved after 10, 50, 200,
/// 500, 1000, 2000, 4000, 6000 and 8000 queries (AutoAttack's schedule, which is not scaled to
/// `n_queries`).
///
/// An image's squares follow from the seed and its index. AutoAttack's code draws one square for
/// the whole batch, so there an image's fate depends on its neighbours; here it depends neither on
/// the size of the batch nor on its order.
#[settings]
pub struct Square {
    /// The ball's norm.
    #[set(default = Norm::Linf)]
    pub norm: Norm,
    /// The ball's radius. For `norm: L2` a length, which may exceed 1.
    #[set(unit = "image", range = 0.0..)]
    pub eps: Scheduled,
    /// Number of queries after the first.
    #[set(default = 5000, range = 0..=1_000_000)]
    pub n_queries: u32,
    /// The first square's share of the image.
    #[set(default = 0.8, range = 0.0..=1.0)]
    pub p_init: f64,
    /// Whether the schedule, made for 10,000 queries, is scaled to `n_queries`. AutoAttack does
    /// not; the authors' own code does.
    #[set(default = false)]
    pub rescale: bool,
    /// Independent tries; a try runs only for images that are not broken yet.
    #[set(default = 1, range = 1..=1000)]
    pub restarts: u32,
}

/// One run from one random start.
struct Run {
    config: Square,
    restart: u32,
}

impl Config<dyn Attack> for Square {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        refuse_l1(cx, self.norm);
        check_radius(cx, "eps", &self.eps, self.norm);
        let least = cx.data.height.min(cx.data.width);
        if self.norm == Norm::L2 && (1..5).contains(&least) {
            cx.problem(
                "norm",
                format!("is L2, whose start needs 5 x 5 pixels; the images have {least}"),
                "write `norm: Linf`",
            );
        }
        Chain::of_tries(self.restarts, |restart| Ok(Run { config: self.clone(), restart }))
    }
}

/// How many queries are drawn at once; after them an evaluation drops broken images.
const BLOCK: u32 = 50;

impl Square {
    /// The share of the image that the square of query `i`, from 0, has.
    fn share(&self, i: u32) -> f64 {
        let scaled = u64::from(i) * 10_000 / u64::from(self.n_queries.max(1));
        let i = if self.rescale { scaled } else { u64::from(i) };
        let halvings = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000].iter().filter(|&&at| i > at).count();
        self.p_init / f64::from(1u32 << halvings)
    }

    /// Its side in pixels; for L2 odd and at least 3, as far as the image allows.
    fn side(&self, i: u32, height: i64, width: i64) -> i64 {
        let least = height.min(width);
        // Halves to the even number, as Python's `round` has it.
        let side = (self.share(i) * (height * width) as f64).sqrt().round_ties_even() as i64;
        match self.norm {
            Norm::Linf => side.clamp(1, least),
            Norm::L2 | Norm::L1 => {
                let odd = side.max(3) | 1;
                if odd <= least { odd } else { least - (least + 1) % 2 }
            }
        }
    }
}

impl Attack for Run {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let Square { norm, n_queries, .. } = self.config;
        let eps = batch.now(&self.config.eps);
        let (_, channels, height, width) = batch.x.size4()?;
        let margin_at = |x: &Tensor, y: &Tensor| terms::margin(&target.logits(x, Mode::Eval), y);

        let mut now = batch.rows(&Tensor::arange(batch.y.size()[0], (Kind::Int64, batch.y.device())));
        let mut live = Live::new(batch);
        let draws = |part: &str| format!("square.{}.{part}", self.restart);
        let mut x = match norm {
            Norm::Linf => linf_start(&now, &draws("start"), &eps),
            Norm::L2 | Norm::L1 => l2_start(&now, &draws("start"), &eps),
        };
        let mut margin = margin_at(&x, &now.y);
        target.iterate(&x);
        for first in (0..n_queries).step_by(BLOCK as usize) {
            if target.shrinks() {
                if let Some(stay) = live.shrink(&margin.le(0.0), &x) {
                    now = now.rows(&stay);
                    [x, margin] = [x, margin].map(|t| t.index_select(0, &stay));
                }
                if live.is_empty() {
                    break;
                }
            }
            let block = Draws::new(&now, &draws(&first.to_string()), BLOCK, channels);
            for i in first..(first + BLOCK).min(n_queries) {
                let side = self.config.side(i, height, width);
                let tried = match norm {
                    Norm::Linf => linf(&now.x, &x, &eps, &block.at(i - first), side),
                    Norm::L2 | Norm::L1 => l2(&now.x, &x, &eps, &block.at(i - first), side),
                };
                let at_tried = margin_at(&tried, &now.y);
                let take = margin.gt(0.0).logical_and(&at_tried.lt_tensor(&margin));
                x = tried.where_self(&take.view([-1, 1, 1, 1]), &x);
                margin = at_tried.where_self(&take, &margin);
                target.iterate(&x);
            }
        }
        Ok(Adversarial::new(live.finish(&x)))
    }

    /// Thousands of queries would be one enormous graph; and one that is not captured leaves out
    /// the images it has broken.
    fn capturable(&self) -> bool {
        false
    }

    fn threats(&self) -> Vec<Threat> {
        Threat::within(self.config.norm, &self.config.eps)
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }
}

register!(dyn Attack, "square", Square, "{ eps: 8/255, n_queries: 1000 }");

#[cfg(test)]
mod tests {
    use super::*;

    fn square(yaml: &str) -> Square {
        serde_yaml::from_str(yaml).unwrap()
    }

    // for i in (...): print(max(1, round(math.sqrt(p(i) * 28 * 28)))), p halved as the doc says
    #[test]
    fn sides_by_query() {
        let digits = square("{ eps: 0.3 }");
        let at = [0, 10, 11, 51, 201, 501, 1001, 2001, 4001];
        assert_eq!(at.map(|i| digits.side(i, 28, 28)), [25, 25, 18, 13, 9, 6, 4, 3, 2]);
        assert_eq!(at.map(|i| digits.side(i, 32, 32)), [29, 29, 20, 14, 10, 7, 5, 4, 3]);
        let l2 = square("{ norm: L2, eps: 1 }");
        assert_eq!(at.map(|i| l2.side(i, 28, 28)), [25, 25, 19, 13, 9, 7, 5, 3, 3]);
        assert_eq!(l2.side(0, 4, 4), 3);
        // With 1000 queries the scaled schedule passes its tenth query at 2, its 8000th at 801.
        let scaled = square("{ eps: 0.3, n_queries: 1000, rescale: true }");
        assert_eq!([0, 1, 2, 801].map(|i| scaled.share(i)), [0.8, 0.8, 0.4, 0.8 / 512.0]);
    }
}
