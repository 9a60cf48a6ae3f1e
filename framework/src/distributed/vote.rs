//! Whether to stop, decided by all ranks at the same step.

use super::collective::Pending;
use super::world::World;
use crate::Result;
use tch::Tensor;

/// A vote before each step: when any rank has wished to stop, all stop.
///
/// The votes of one step are summed during the step and read before the next one, so no rank waits
/// for them.
#[derive(Default)]
pub struct Vote {
    under_way: Option<(Tensor, Box<dyn Pending>)>,
}

impl std::fmt::Debug for Vote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vote, under way: {}", self.under_way.is_some())
    }
}

impl Vote {
    /// Casts this rank's vote, and returns whether all stop here. Every rank calls it at the same
    /// points. A single process stops at once.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn stop(&mut self, world: World, wish: bool) -> Result<bool> {
        if world.size() == 1 {
            return Ok(wish);
        }
        if let Some((votes, counting)) = self.under_way.take() {
            world.lost(counting.wait())?;
            if votes.int64_value(&[0]) > 0 {
                return Ok(true);
            }
        }
        let votes = Tensor::from_slice(&[i64::from(wish)]);
        let counting = world.start_sum(&votes)?;
        self.under_way = Some((votes, counting));
        Ok(false)
    }
}
