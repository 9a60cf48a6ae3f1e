//! Plugins in Rust whose numbers autograd does not follow, that write into what they are given, or
//! that compute nothing.

use foil::data::Resident;
use foil::engine::Step;
use foil::guard;
use foil::nn::Gradients;
use foil::prelude::*;
use foil::testing::{FACTS, TinyNet, attack_from_yaml, from_yaml, images};
use foil_data::Images;
use foil_runs::eval::Trial;
use tch::Device;

/// A [`TinyNet`] with something wrong before or behind it.
struct Odd(TinyNet, &'static str);

impl Model for Odd {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let train = pass.mode() == Mode::Train;
        match self.1 {
            "train" if train => self.0.forward(pass, &xs.detach()),
            "eval" if !train => self.0.forward(pass, &xs.detach()),
            "no_grad" => tch::no_grad(|| self.0.forward(pass, xs)),
            "cast" => self.0.forward(pass, &xs.to_kind(Kind::Int64).to_kind(xs.kind())),
            "constant" => Tensor::ones([xs.size()[0], FACTS.classes], (xs.kind(), xs.device())),
            "nothing" => Tensor::new(),
            "writes" => tch::no_grad(|| self.0.forward(pass, &xs.shallow_clone().g_sub_scalar_(0.5))),
            _ => self.0.forward(pass, xs),
        }
    }
}

/// PGD's shape with something wrong, or with an objective that is.
struct Odder(&'static str);

impl Attack for Odder {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        match self.0 {
            "objective" => {
                drop(target.gradient(&batch.x, Mode::Eval, &|z| terms::cross_entropy(&z.detach(), &batch.y)))
            }
            "undefined" => drop(target.gradient(&batch.x, Mode::Eval, &|_| Tensor::new())),
            "labels" => drop(batch.y.shallow_clone().zero_()),
            "images" => drop(batch.x.shallow_clone().g_add_scalar_(0.1)),
            _ => {}
        }
        Ok(Adversarial::new(batch.x.shallow_clone()))
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }
}

/// Cross-entropy that cannot be descended.
struct Flat(&'static str);

impl Loss for Flat {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Clean]
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let value = terms::cross_entropy(input.clean()?, input.y());
        Ok(LossOutput::new(match self.0 {
            "detached" => value.mean(None::<Kind>).detach(),
            "per_image" => value,
            "verdicts" => input.clean()?.argmax(-1, false).sum(Kind::Int64),
            "other" => Tensor::from(1.0).set_requires_grad(true) * 2.0,
            "undefined" => Tensor::new(),
            _ => value.mean(None::<Kind>),
        }))
    }
}

fn odd(how: &'static str) -> Network {
    let nn = Builder::default();
    Network::new(Box::new(Odd(TinyNet::new(&nn), how)), nn, Some(1), Kind::Double, Device::Cpu)
}

fn step(how: &'static str, attack: Box<dyn Attack>, loss: Box<dyn Loss>) -> Result<Gradients> {
    let sgd = from_yaml::<dyn Optimizer>("{ type: sgd, lr: 0.1 }", Kind::Double);
    let mut step = Step::new(Learner::new(odd(how), sgd), attack, loss, ["odd_attack", "odd_loss"]);
    let images = images(6, 1, Kind::Double);
    step.run(&mut images.batch(1)).map(|outcome| outcome.gradients)
}

#[test]
fn a_step_without_a_gradient_is_an_error_that_names_the_part() {
    const PGD: &str = "{ type: pgd, eps: 0.1, alpha: 0.05, steps: 2, mode: ";
    let pgd = |mode: &str| attack_from_yaml(&format!("{PGD}{mode} }}"), Kind::Double);
    let good = || Box::new(Flat("")) as Box<dyn Loss>;
    for (how, mode, flat) in [
        ("train", "train", true),
        ("train", "eval", false),
        ("eval", "eval", true),
        ("eval", "train", false),
        ("no_grad", "eval", true),
        ("cast", "eval", true),
        ("constant", "eval", true),
        ("", "eval", false),
    ] {
        let found = step(how, pgd(mode), good());
        if !flat {
            assert!(found.unwrap().0.abs().max().double_value(&[]) > 0.0, "{how}");
            continue;
        }
        let error = found.unwrap_err();
        let part = format!(
            "attack `odd_attack`: the model: its logits in {mode} mode do not depend differentiably on its images"
        );
        assert_eq!(error.message(), part, "{how}");
        assert!(error.suggestion().is_some_and(|help| help.contains("`detach`")), "{error}");
    }
    let idle = || Box::new(Odder("")) as Box<dyn Attack>;
    for (how, attack, loss, part) in [
        ("", Odder("objective"), "", "attack `odd_attack`: the objective does not depend differentiably on the logits"),
        ("", Odder("undefined"), "", "attack `odd_attack`: the objective does not depend differentiably on the logits"),
        ("", Odder("labels"), "", "attack `odd_attack`: it writes into the images or labels it is given"),
        ("", Odder("images"), "", "attack `odd_attack`: it writes into the images or labels it is given"),
        ("", Odder(""), "detached", "loss `odd_loss`: there is no gradient: the value does not depend on anything"),
        (
            "",
            Odder(""),
            "per_image",
            "loss `odd_loss`: what is to be differentiated is [6] of Double, but must be a scalar",
        ),
        ("", Odder(""), "verdicts", "loss `odd_loss`: what is to be differentiated is [] of Int64"),
        ("", Odder(""), "other", "loss `odd_loss`: the loss does not depend on the network's parameters"),
        ("", Odder(""), "undefined", "loss `odd_loss`: there is no value to differentiate"),
    ] {
        let error = step(how, Box::new(attack), Box::new(Flat(loss))).unwrap_err();
        assert!(error.message().starts_with(part), "{error}");
    }
    for (how, part) in [
        ("no_grad", "the model: its logits in train mode do not depend differentiably on its parameters"),
        ("constant", "the model: its logits in train mode do not depend differentiably on its parameters"),
        ("nothing", "the model: it returns a tensor that was never computed"),
        ("writes", "the model: its forward pass writes into the images it is given"),
    ] {
        let error = step(how, idle(), good()).unwrap_err();
        assert!(error.message().starts_with(part), "{how}: {error}");
    }
}

/// An evaluation names the plugin at fault, and still runs attacks that need no gradient.
#[test]
fn an_evaluation_names_what_stands_in_its_way() {
    let images = images(12, 1, Kind::Double);
    let evaluate = |how: &str, mut attack: Box<dyn Attack>| {
        let how: &'static str = ["eval", "writes", ""].into_iter().find(|known| *known == how).unwrap();
        let pixels = Vec::<u8>::try_from((&images.x * 255.0).round().to_kind(Kind::Uint8).reshape([-1])).unwrap();
        let labels = Vec::<i64>::try_from(&images.y).unwrap().into_iter().map(|y| y as u16).collect();
        let shape = [FACTS.channels, FACTS.height, FACTS.width].map(|n| n as usize);
        let data = Resident::new(&Images::new(pixels, labels, shape), Device::Cpu).unwrap();
        let mut trial = Trial {
            name: "it",
            attack: Some(attack.as_mut()),
            data: &data,
            batch_size: 5,
            seed: 1,
            keeps_images: false,
        };
        guard(|| trial.run(&odd(how), &mut |_| {}))
    };
    let attack = |yaml: &str| attack_from_yaml(yaml, Kind::Double);
    for yaml in [
        "{ type: pgd, eps: 0.1, alpha: 0.05 }",
        "{ type: apgd, eps: 0.1, steps: 5 }",
        "{ type: fab_t, eps: 0.1, steps: 5 }",
        "{ type: early_stopped_pgd, objective: ce, tau: 0, eps: 0.1, alpha: 0.05 }",
    ] {
        let error = evaluate("eval", attack(yaml)).unwrap_err();
        let part = "evaluation `it`: the model: its logits in eval mode do not depend differentiably on its images";
        assert_eq!(error.message(), part, "{yaml}");
    }
    let square = "{ type: square, eps: 0.1, n_queries: 5 }";
    assert_eq!(evaluate("eval", attack(square)).unwrap(), evaluate("", attack(square)).unwrap());
    let error = evaluate("writes", attack(square)).unwrap_err();
    assert!(error.message().contains("the model: its forward pass writes into the images"), "{error}");
    let error = evaluate("", Box::new(Odder("labels"))).unwrap_err();
    assert!(error.message().contains("it writes into the images or labels it is given"), "{error}");
}
