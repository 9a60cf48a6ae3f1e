//! Attacks one after the other, the worst case of all: what AutoAttack, restarts and targeted
//! attacks are made of.

use foil::prelude::*;

/// Attacks in order. An image that one has broken is not given to the next.
///
/// [`Attack::perturb`] keeps the batch whole: every attack runs on every image, and masks say whose
/// result counts. An evaluation runs the stages itself and shrinks between them; both give the same
/// images.
///
/// It declares what all its attacks do; attacks that use several in another way wrap it.
pub(crate) struct Chain(pub(crate) Vec<(String, Box<dyn Attack>)>);

impl Chain {
    /// An attack tried `restarts` times; `run` makes the try of a number, from 1. A single try is
    /// not a chain.
    pub(crate) fn of_tries<A: Attack + 'static>(
        restarts: u32,
        run: impl Fn(u32) -> Result<A>,
    ) -> Result<Box<dyn Attack>> {
        if restarts == 1 {
            return Ok(Box::new(run(1)?));
        }
        let tries = (1..=restarts).map(|n| Ok((n.to_string(), Box::new(run(n)?) as Box<dyn Attack>)));
        Ok(Box::new(Self(tries.collect::<Result<_>>()?)))
    }

    /// An attack aimed at each of the `targets` most likely wrong classes, `restarts` times each.
    /// `run` makes the try of a stage's name, the class's rank among the clean logits (0 is the
    /// most likely class) and the try's number, from 1.
    pub(crate) fn of_targets<A: Attack + 'static>(
        cx: &Build,
        targets: u32,
        restarts: u32,
        run: impl Fn(&str, i64, u32) -> A,
    ) -> Box<dyn Attack> {
        let ranks = 1..=i64::from(targets).min(cx.data.classes - 1);
        let tries = ranks.flat_map(|rank| (1..=restarts).map(move |n| (rank, n)));
        let named = tries.map(|(rank, n)| {
            let stage = if n == 1 { rank.to_string() } else { format!("{rank}-{n}") };
            let attack: Box<dyn Attack> = Box::new(run(&stage, rank, n));
            (stage, attack)
        });
        Box::new(Self(named.collect()))
    }

    /// Whether all its attacks take labels `[N, K]`. The chain does not: it needs to know which
    /// images are broken.
    pub(crate) fn take_soft_labels(&self) -> bool {
        self.0.iter().all(|(_, attack)| attack.soft_labels())
    }
}

impl Attack for Chain {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let mut x = batch.x.shallow_clone();
        let mut margin = terms::margin(&target.logits(&x, Mode::Eval), &batch.y);
        for (_, attack) in &mut self.0 {
            let found = attack.perturb(target, batch)?.x;
            let at_found = terms::margin(&target.logits(&found, Mode::Eval), &batch.y);
            // Of images that stand, the worst point; a broken one keeps what broke it.
            let take = margin.gt(0.0).logical_and(&at_found.lt_tensor(&margin));
            x = found.where_self(&take.view([-1, 1, 1, 1]), &x);
            margin = at_found.where_self(&take, &margin);
        }
        Ok(Adversarial::new(x))
    }

    fn mode(&self) -> Mode {
        let train = self.0.iter().any(|(_, attack)| attack.mode() != Mode::Eval);
        if train { Mode::Train } else { Mode::Eval }
    }

    fn needs_clean_logits(&self) -> bool {
        self.0.iter().any(|(_, attack)| attack.needs_clean_logits())
    }

    fn networks(&self) -> Vec<String> {
        foil::distinct(self.0.iter().flat_map(|(_, attack)| attack.networks()))
    }

    fn threats(&self) -> Vec<Threat> {
        foil::distinct(self.0.iter().flat_map(|(_, attack)| attack.threats()))
    }

    fn capturable(&self) -> bool {
        self.0.iter().all(|(_, attack)| attack.capturable())
    }

    fn stages(&mut self) -> Vec<(String, &mut dyn Attack)> {
        let mut stages: Vec<(String, &mut dyn Attack)> = Vec::new();
        for (name, attack) in &mut self.0 {
            match attack.stages().is_empty() {
                true => stages.push((name.clone(), attack.as_mut())),
                false => stages.extend(attack.stages().into_iter().map(|(stage, it)| (format!("{name}.{stage}"), it))),
            }
        }
        stages
    }
}

/// The attacks under the key `attacks`, each once with a name of its own.
pub(crate) fn several(cx: &Build, attacks: &[Component<dyn Attack>]) -> Vec<(String, Box<dyn Attack>)> {
    if attacks.is_empty() {
        cx.problem(
            "attacks",
            "is empty",
            "list at least one attack, such as `{ type: pgd, eps: 8/255, alpha: 2/255 }`",
        );
    }
    let mut built: Vec<(String, Box<dyn Attack>)> = Vec::new();
    for (i, component) in attacks.iter().enumerate() {
        let alike = attacks[..i].iter().filter(|other| other.name() == component.name()).count();
        let name =
            if alike == 0 { component.name().to_string() } else { format!("{}-{}", component.name(), alike + 1) };
        let Some(attack) = cx.at("attacks").component(&i.to_string(), component) else { continue };
        if attack.learning().is_some() {
            cx.at("attacks").problem(
                &i.to_string(),
                "learns or keeps something between steps, which is not saved for several",
                "use it by itself, or choose another attack, such as `pgd`",
            );
        }
        built.push((name, attack));
    }
    built
}

/// The worst of several attacks: each runs on the images that resisted those before it, as in
/// AutoAttack.
///
/// Of an image that none of them breaks, the point with the smallest margin is returned. Attacks of
/// the same kind draw the same random start.
#[settings]
pub struct WorstOf {
    /// The attacks, in order; the cheap ones first save time.
    pub attacks: Vec<Component<dyn Attack>>,
}

impl Config<dyn Attack> for WorstOf {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        Ok(Box::new(Chain(several(cx, &self.attacks))))
    }
}

register!(
    dyn Attack,
    "worst_of",
    WorstOf,
    "{ attacks: [{ type: fgsm, eps: 8/255 }, { type: pgd, eps: 8/255, alpha: 2/255, steps: 10 }] }"
);
