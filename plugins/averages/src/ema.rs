//! EMA: a mean in which older weights count exponentially less.

use foil::average::{Average, Buffers};
use foil::prelude::*;

/// An exponential moving average of the weights (Gowal et al. 2020, arXiv:2010.03593, section 4;
/// Rebuffi et al. 2021, Wang et al. 2023).
///
/// After each update v = d · v + (1 - d) · w. During the `warm_up` d is 0, so that v = w. With
/// `ramp`, n updates after that d is the smaller of `decay` and (1 + n)/(10 + n), which reaches
/// 0.995 at n = 1790. The public PyTorch codes of this recipe (imrahulr, DM-Improves-AT) have decay
/// 0.995, a warm-up of 0.025 of the run (in steps, not rounded), and copy batch norm's running
/// statistics. DAJAT and DKL have decay 0.9996 from three quarters of the run on, `ramp: false`,
/// and `buffers: average`.
#[settings]
pub struct Ema {
    /// The decay d: a number or a scheduler.
    #[set(default = 0.995.into(), range = 0.0..=1.0)]
    pub decay: Scheduled,
    /// Share of the run's steps before the average begins.
    #[set(default = 0.0, range = 0.0.., below = 1.0)]
    pub warm_up: f64,
    /// Whether d begins smaller and grows.
    #[set(default = true)]
    pub ramp: bool,
    /// Where batch norm's running statistics come from.
    #[set(default = Buffers::Copy)]
    pub buffers: Buffers,
}

struct Following {
    config: Ema,
    /// Updates so far, `[]` double.
    updates: Tensor,
    /// Steps of the warm-up, once the length of the run is known. A captured step has it as a
    /// constant.
    warm_up: Option<f64>,
}

impl Config<dyn Average> for Ema {
    fn build(&self, cx: &Build) -> Result<Box<dyn Average>> {
        let updates = Tensor::zeros([] as [i64; 0], (Kind::Double, cx.device));
        Ok(Box::new(Following { config: self.clone(), updates, warm_up: None }))
    }
}

impl Average for Following {
    fn after_update(&mut self, clock: &Clock) -> Option<Tensor> {
        let Ema { decay, warm_up, ramp, .. } = &self.config;
        let _ = self.updates.g_add_scalar_(1.0);
        let steps = || clock.progress().epochs as f64 * clock.progress().steps_per_epoch as f64;
        let since = &self.updates - *self.warm_up.get_or_insert_with(|| warm_up * steps());
        let decay = match ramp {
            true => decay.at(clock).minimum(&((&since + 1.0) / (&since + 10.0))),
            false => decay.at(clock),
        };
        Some(1.0 - decay * since.ge(0.0).to_kind(Kind::Double))
    }

    fn buffers(&self) -> Buffers {
        self.config.buffers
    }

    fn begins(&self, epochs: u64) -> f64 {
        self.config.warm_up * epochs as f64
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("updates".into(), self.updates.shallow_clone())]
    }
}

register!(dyn Average, "ema", Ema, "{ decay: 0.995, warm_up: 0.025 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::from_yaml;

    /// The averages of these numbers, one update each, beginning at `v`.
    fn averages(yaml: &str, clock: &Clock, mut v: f64, numbers: &[f64]) -> Vec<f64> {
        let mut average = from_yaml::<dyn Average>(yaml, Kind::Double);
        let mut follow = |w: &f64| {
            v += average.after_update(clock).unwrap().double_value(&[]) * (w - v);
            v
        };
        numbers.iter().map(&mut follow).collect()
    }

    // By hand: 4 epochs of 1 step, the warm-up is half of them: W = 2. After updates 1 to 4 the
    // decay is 0, then (1 + 0)/10 = .1, 2/11, 3/12; v = 1, 1.9, 3.618…, 3.154….
    #[test]
    fn four_updates_by_hand() {
        let clock = Clock::new(4, 1, tch::Device::Cpu);
        let found = averages("{ type: ema, warm_up: 0.5 }", &clock, 0.5, &[1.0, 2.0, 4.0, 3.0]);
        let expected = [1.0, 1.9, 1.9 * 2.0 / 11.0 + 4.0 * 9.0 / 11.0, 3.154_545_454_545_454_7];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        let plain = averages("{ type: ema, decay: 0.75, ramp: false }", &clock, 4.0, &[0.0, 0.0]);
        assert_eq!(plain, [3.0, 2.25]);
    }

    // What imrahulr/adversarial_robustness_pytorch 6df6a8f computed, `ema_update` of
    // core/utils/watrain.py: one number of a network in three updates. Without a warm-up, with one
    // of two steps, and with a decay of 0.9 that does not grow.
    #[test]
    fn equals_the_official_code() {
        let clock = Clock::new(4, 1, tch::Device::Cpu);
        let (start, weights) = (0.11945296214882584, [0.041468634276193295, 0.5475406028445067, 0.16066188739122433]);
        for (yaml, expected) in [
            ("ema", [0.0556476029803083, 0.4245673528784571, 0.24186356907960366]),
            ("{ type: ema, warm_up: 0.5 }", [0.041468634276193295, 0.4969334059876753, 0.22180216349966997]),
            ("{ type: ema, decay: 0.9, ramp: false }", [0.11165452936156259, 0.15524313670985698, 0.15578501177799373]),
        ] {
            let found = averages(yaml, &clock, start, &weights);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{yaml}: {found:?}");
        }
    }

    // The warm-up is not rounded: of 4 epochs of 98 steps 0.025 are 9.8, so update 9 still copies,
    // and update 10 has decay 1.2/10.2. The ramp reaches 0.995 1790 updates after the warm-up.
    #[test]
    fn the_warm_up_and_the_ramp_end_where_the_recipe_says() {
        let decays = |clock: &Clock, yaml: &str, n: usize| -> Vec<f64> {
            let mut average = from_yaml::<dyn Average>(yaml, Kind::Double);
            (0..n).map(|_| 1.0 - average.after_update(clock).unwrap().double_value(&[])).collect()
        };
        let found = decays(&Clock::new(4, 98, tch::Device::Cpu), "{ type: ema, warm_up: 0.025 }", 11);
        assert!(found[8] == 0.0 && (found[9] - 1.2 / 10.2).abs() < 1e-12 && (found[10] - 0.196_428_57).abs() < 1e-7);
        let found = decays(&Clock::new(1, 1, tch::Device::Cpu), "ema", 1800);
        assert!((found[1788] - 0.994_997_22).abs() < 1e-7 && (found[1789] - 0.995).abs() < 1e-12, "{found:?}");
    }
}
