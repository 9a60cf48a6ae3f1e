//! Optimizers, as `torch.optim` computes them.

mod adam;
mod adamw;
mod sgd;

pub use adam::Adam;
pub use adamw::AdamW;
pub use sgd::Sgd;

#[cfg(test)]
mod testing {
    use foil::prelude::*;
    use foil::scheduler::Clock;
    use foil::testing::from_yaml;
    use tch::Device;

    /// Three updates of (1, -2) in double precision by the gradients that the PyTorch snippets use.
    pub fn trajectory(config: &str, expected: &[f64]) {
        follow(config, &[], expected);
    }

    /// The same, where the first number is a weight and the second a norm's.
    pub fn grouped(config: &str, expected: &[f64]) {
        let span = |start, group| Span { name: "p".into(), group, dims: 1, start, length: 1 };
        follow(config, &[span(0, Group::Weight), span(1, Group::Norm)], expected);
    }

    fn follow(config: &str, spans: &[Span], expected: &[f64]) {
        let mut optimizer = from_yaml::<dyn Optimizer>(config, Kind::Double);
        let values = Tensor::from_slice(&[1.0, -2.0]);
        optimizer.prepare(&values, spans);
        for gradient in [[1.0, 2.0], [0.5, -1.0], [0.0, 3.0]] {
            optimizer.update(&values, &Tensor::from_slice(&gradient), &Clock::new(1, 3, Device::Cpu));
        }
        let found = Vec::<f64>::try_from(values).unwrap();
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
    }
}
