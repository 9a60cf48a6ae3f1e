//! How plugins' objects cross from one copy of the framework to another.
//!
//! A library loaded at run time has its own copy of this crate and of Rust's runtime. Tensors,
//! text and trait objects cross as they are, since both copies were made by one compiler from one
//! source. A panic does not: only the copy in which it started can catch it; in any other it ends
//! the process. So an object is kept as a [`Held`]: called by the copy that made it, it is called
//! directly; called by another, the panic is caught where it happens, crosses as an error, and goes
//! on on the other side as a panic of that copy's own, which that copy's `foil::guard` turns into
//! the message that the user reads.

use crate::attack::{Adversarial, Attack, Batch, Learning, Target, Threat};
use crate::augment::{Augment, Mixed};
use crate::average::{Average, Buffers};
use crate::data::{DataSource, Dataset, Facts, Located, Reading, Remote, Shift};
use crate::engine::Learner;
use crate::error::Part;
use crate::loss::{Forward, Loss, LossInput, LossOutput};
use crate::model::Model;
use crate::nn::{Mode, Noise, Pass, Span};
use crate::objective::{Objective, Reference};
use crate::optim::Optimizer;
use crate::registry::{Build, Kind};
use crate::scheduler::{Clock, Progress, Scheduler};
use crate::update::{Descent, Update};
use crate::{Error, Result};
use crate::{guard, raise};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU8;
use tch::Tensor;

/// The copy of the framework that this is called in: the address of one of its statics.
pub(crate) fn home() -> usize {
    static HOME: AtomicU8 = AtomicU8::new(0);
    &raw const HOME as usize
}

/// An object with the copy that made it.
pub struct Held<T: Kind + ?Sized> {
    home: usize,
    object: Box<T::Across>,
    /// Its name in configs, for messages; `None` if another `Held` around or inside it has it.
    name: Option<&'static str>,
}

impl<T: Kind + ?Sized> Held<T> {
    /// Keeps an object that the calling copy made, or that it received and can call safely.
    pub(crate) fn new(object: Box<T>) -> Self {
        Self { home: home(), object: T::across(object), name: None }
    }

    /// Adds its name, for messages.
    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    /// Adds the plugin's name to an error from another copy.
    fn explained<R>(&self, result: Result<R>) -> Result<R> {
        result.map_err(|error| match self.name {
            Some(name) => match Part::of(T::NAME) {
                Some(part) => error.in_part(part, name),
                None => error.context(format_args!("{} `{name}`", T::NAME)),
            },
            None => error,
        })
    }

    fn at_home(&self) -> bool {
        self.home == home()
    }

    /// The object itself, for the copy that made it.
    fn own(&self) -> &T
    where
        T::Across: Whole<T>,
    {
        (*self.object).object()
    }

    fn own_mut(&mut self) -> &mut T
    where
        T::Across: Whole<T>,
    {
        (*self.object).object_mut()
    }
}

/// The object itself, in the copy that made it.
#[doc(hidden)]
#[allow(missing_docs)]
pub trait Whole<T: ?Sized> {
    fn object(&self) -> &T;
    fn object_mut(&mut self) -> &mut T;
}

impl<T: ?Sized> Whole<T> for Box<T> {
    fn object(&self) -> &T {
        self.as_ref()
    }
    fn object_mut(&mut self) -> &mut T {
        self.as_mut()
    }
}

fn itself<T: ?Sized>(object: &T) -> &T {
    object
}

fn itself_mut<T: ?Sized>(object: &mut T) -> &mut T {
    object
}

/// What an attack keeps and learns; asked for only of an attack that has said that it does.
fn learning(attack: &dyn Attack) -> &dyn Learning {
    raise(attack.learning().ok_or_else(no_longer))
}

fn learning_mut(attack: &mut dyn Attack) -> &mut dyn Learning {
    raise(attack.learning_mut().ok_or_else(no_longer))
}

fn no_longer() -> Error {
    Error::new("only one of its `learning` and `learning_mut` returns something")
}

/// For each trait: its methods as they cross, always with a result; the side that catches panics;
/// and the side that continues them.
///
/// `get` and `set` take `&self` and `&mut self`; with `try_` in front the trait's own method
/// returns a result. A method that is missing here would silently be the trait's default for
/// plugins from libraries, so the test below compares the lists.
///
/// A trait that an object offers beside its own crosses `in` that object: only the object's copy
/// can catch what the part panics with, so a reference to the part must not cross.
macro_rules! crossing {
    ($trait:ident as $across:ident: $($bound:ident)+ { $($methods:tt)* }) => {
        crossing!($trait as $across in $trait by (itself, itself_mut): $($bound)+ { $($methods)* });
    };
    ($trait:ident as $across:ident in $whole:ident by ($part:ident, $part_mut:ident): $($bound:ident)+ {
        $(get $g:ident($($ga:ident: $gt:ty),*) -> $gr:ty;)*
        $(set $s:ident($($sa:ident: $st:ty),*) -> $sr:ty;)*
        $(try_get $tg:ident($($tga:ident: $tgt:ty),*) -> $tgr:ty;)*
        $(try_set $ts:ident($($tsa:ident: $tst:ty),*) -> $tsr:ty;)*
        $(own $own:item)*
    }) => {
        #[doc(hidden)]
        #[allow(missing_docs, clippy::missing_errors_doc)]
        pub trait $across: Whole<dyn $whole> + $($bound +)+ {
            $(fn $g(&self, $($ga: $gt),*) -> Result<$gr>;)*
            $(fn $s(&mut self, $($sa: $st),*) -> Result<$sr>;)*
            $(fn $tg(&self, $($tga: $tgt),*) -> Result<$tgr>;)*
            $(fn $ts(&mut self, $($tsa: $tst),*) -> Result<$tsr>;)*
        }

        impl $across for Box<dyn $whole> {
            $(fn $g(&self, $($ga: $gt),*) -> Result<$gr> { guard(|| Ok($part(self.as_ref()).$g($($ga),*))) })*
            $(fn $s(&mut self, $($sa: $st),*) -> Result<$sr> { guard(|| Ok($part_mut(self.as_mut()).$s($($sa),*))) })*
            $(fn $tg(&self, $($tga: $tgt),*) -> Result<$tgr> { guard(|| $part(self.as_ref()).$tg($($tga),*)) })*
            $(fn $ts(&mut self, $($tsa: $tst),*) -> Result<$tsr> { guard(|| $part_mut(self.as_mut()).$ts($($tsa),*)) })*
        }

        impl $trait for Held<dyn $whole> {
            $(fn $g(&self, $($ga: $gt),*) -> $gr {
                if self.at_home() {
                    $part(self.own()).$g($($ga),*)
                } else {
                    raise(self.explained($across::$g(self.object.as_ref(), $($ga),*)))
                }
            })*
            $(fn $s(&mut self, $($sa: $st),*) -> $sr {
                if self.at_home() { $part_mut(self.own_mut()).$s($($sa),*) } else {
                    let result = $across::$s(self.object.as_mut(), $($sa),*);
                    raise(self.explained(result))
                }
            })*
            $(fn $tg(&self, $($tga: $tgt),*) -> Result<$tgr> {
                if self.at_home() {
                    $part(self.own()).$tg($($tga),*)
                } else {
                    self.explained($across::$tg(self.object.as_ref(), $($tga),*))
                }
            })*
            $(fn $ts(&mut self, $($tsa: $tst),*) -> Result<$tsr> {
                if self.at_home() { $part_mut(self.own_mut()).$ts($($tsa),*) } else {
                    let result = $across::$ts(self.object.as_mut(), $($tsa),*);
                    self.explained(result)
                }
            })*
            $($own)*
        }

        #[cfg(test)]
        impl Listed for dyn $trait {
            const METHODS: &'static [&'static str] =
                &[$(stringify!($g),)* $(stringify!($s),)* $(stringify!($tg),)* $(stringify!($ts),)*];
        }
    };
}

crossing!(Augment as AugmentAcross: Send {
    get mixes() -> bool;
    get copies() -> i64;
    get shift() -> Option<Shift>;
    get check(cx: &Build) -> ();
    get capturable() -> bool;
    try_get images(images: &Tensor, noise: &Noise) -> Tensor;
    try_get mix(batch: Mixed, noise: &Noise) -> Mixed;
});

crossing!(Loss as LossAcross: Send {
    get capturable() -> bool;
    get soft_labels() -> bool;
    get passes() -> Vec<Forward>;
    get needs() -> Vec<&'static str>;
    get least_classes() -> i64;
    get input_gradients() -> Vec<Forward>;
    get features() -> Vec<(Forward, &'static str)>;
    get state() -> Vec<(String, Tensor)>;
    get per_image() -> Vec<String>;
    set after_epoch() -> ();
    try_get forward(input: &LossInput) -> LossOutput;
    try_set after_update(input: &LossInput) -> ();
});

crossing!(Attack as AttackAcross: Send LearningAcross {
    get capturable() -> bool;
    get soft_labels() -> bool;
    get mode() -> Mode;
    get provides() -> Vec<&'static str>;
    get needs_clean_logits() -> bool;
    get ends_with_train_pass() -> bool;
    get threats() -> Vec<Threat>;
    get images() -> Vec<&'static str>;
    get networks() -> Vec<String>;
    try_set perturb(target: &Target, batch: &Batch) -> Adversarial;
    try_set complete(target: &Target, batch: &Batch, x_adv: Tensor) -> Adversarial;
    // What it learns crosses method by method, through this object.
    own fn learning(&self) -> Option<&dyn Learning> {
        match self.at_home() {
            true => self.own().learning(),
            false => raise(self.explained(self.object.learns())).then_some(self as _),
        }
    }
    own fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        match self.at_home() {
            true => self.own_mut().learning_mut(),
            false => raise(self.explained(self.object.learns())).then_some(self as _),
        }
    }
    // A stage would be an object of the copy that made it, whose panics no one would catch, so a
    // chain in a library runs as a whole.
    own fn stages(&mut self) -> Vec<(String, &mut dyn Attack)> {
        if self.at_home() { self.own_mut().stages() } else { Vec::new() }
    }
    // Asked only by the trait's defaults, which run in the copy that made the object.
    own fn inner(&self) -> Option<&dyn Attack> {
        if self.at_home() { self.own().inner() } else { None }
    }
    own fn inner_mut(&mut self) -> Option<&mut dyn Attack> {
        if self.at_home() { self.own_mut().inner_mut() } else { None }
    }
});

crossing!(Learning as LearningAcross in Attack by (learning, learning_mut): Learns {
    get state() -> Vec<(String, Tensor)>;
    get per_image() -> Vec<String>;
    get remark(means: &BTreeMap<String, f64>) -> Option<String>;
    get learner() -> Option<&Learner>;
    get takes_gradient() -> bool;
    try_set after_update(target: &Target, batch: &Batch, adversarial: &Adversarial) -> Vec<(&'static str, Tensor)>;
    try_set after_gradient(target: &Target, batch: &Batch, adversarial: &Adversarial, gradient: &Tensor) -> Tensor;
});

/// Whether an attack keeps or learns anything, which decides whether [`Learning`] crosses.
#[doc(hidden)]
#[allow(missing_docs, clippy::missing_errors_doc)]
pub trait Learns {
    fn learns(&self) -> Result<bool>;
}

impl Learns for Box<dyn Attack> {
    fn learns(&self) -> Result<bool> {
        guard(|| Ok(self.as_ref().learning().is_some()))
    }
}

crossing!(Objective as ObjectiveAcross: Send {
    get value(logits: &Tensor, reference: Reference) -> Tensor;
    get logit_grad(logits: &Tensor, reference: Reference) -> Option<Tensor>;
    get needs_clean() -> bool;
    get soft_labels() -> bool;
    get network() -> Option<String>;
    get least_classes() -> i64;
});

crossing!(Scheduler as SchedulerAcross: Send Sync {
    get value(progress: &Progress) -> f64;
    get check(cx: &Build) -> ();
});

crossing!(DataSource as DataSourceAcross: Send {
    get remotes() -> Vec<Remote>;
    get parts() -> Vec<String>;
    try_get facts() -> Facts;
    try_get locate() -> Located;
    try_get read(progress: &Reading) -> Dataset;
    try_get read_part(part: &str, progress: &Reading) -> Dataset;
});

crossing!(Optimizer as OptimizerAcross: Send {
    get learning_rate(progress: &Progress) -> f64;
    get state() -> Vec<(String, Tensor)>;
    set prepare(values: &Tensor, spans: &[Span]) -> ();
    set update(values: &Tensor, gradient: &Tensor, clock: &Clock) -> ();
});

crossing!(Update as UpdateAcross: Send {
    get moves() -> bool;
    get capturable() -> bool;
    try_set update(descent: &mut dyn Descent, clock: &Clock) -> ();
});

crossing!(Average as AverageAcross: Send {
    get after_epoch(progress: &Progress) -> Option<f64>;
    get buffers() -> Buffers;
    get begins(epochs: u64) -> f64;
    get state() -> Vec<(String, Tensor)>;
    set after_update(clock: &Clock) -> Option<Tensor>;
});

/// A model calls back while it computes its gradient, so calls cross both ways, and the trait is
/// written out by hand.
#[doc(hidden)]
#[allow(missing_docs, clippy::missing_errors_doc)]
pub trait ModelAcross: Whole<dyn Model> + Send {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Result<Tensor>;
    fn input_gradient(
        &self,
        pass: &Pass,
        xs: &Tensor,
        d_logits: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Option<(Tensor, Tensor)>>;
    fn capturable(&self) -> Result<bool>;
    fn is_mask(&self) -> Result<bool>;
}

impl ModelAcross for Box<dyn Model> {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Result<Tensor> {
        guard(|| Ok(self.as_ref().forward(pass, xs)))
    }
    fn input_gradient(
        &self,
        pass: &Pass,
        xs: &Tensor,
        d_logits: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        guard(|| Ok(self.as_ref().input_gradient(pass, xs, &|logits| raise(d_logits(logits)))))
    }
    fn capturable(&self) -> Result<bool> {
        guard(|| Ok(self.as_ref().capturable()))
    }
    fn is_mask(&self) -> Result<bool> {
        guard(|| Ok(self.as_ref().is_mask()))
    }
}

impl Model for Held<dyn Model> {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        if self.at_home() { self.own().forward(pass, xs) } else { raise(self.explained(self.object.forward(pass, xs))) }
    }
    fn input_gradient(
        &self,
        pass: &Pass,
        xs: &Tensor,
        d_logits: &dyn Fn(&Tensor) -> Tensor,
    ) -> Option<(Tensor, Tensor)> {
        if self.at_home() {
            return self.own().input_gradient(pass, xs, d_logits);
        }
        raise(self.explained(self.object.input_gradient(pass, xs, &|logits| guard(|| Ok(d_logits(logits))))))
    }
    fn capturable(&self) -> bool {
        if self.at_home() { self.own().capturable() } else { raise(self.explained(self.object.capturable())) }
    }
    fn is_mask(&self) -> bool {
        if self.at_home() { self.own().is_mask() } else { raise(self.explained(self.object.is_mask())) }
    }
}

#[cfg(test)]
trait Listed {
    const METHODS: &'static [&'static str];
}

#[cfg(test)]
impl Listed for dyn Model {
    const METHODS: &'static [&'static str] = &["forward", "input_gradient", "capturable", "is_mask"];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The methods of `trait NAME` in its source text.
    fn written<'a>(name: &str, source: &'a str) -> Vec<&'a str> {
        let (_, rest) = source.split_once(&format!("pub trait {name}")).unwrap();
        let body = rest.split("\n}").next().unwrap();
        let lines = body.lines().filter_map(|line| line.strip_prefix("    fn "));
        let mut names: Vec<&str> = lines.filter_map(|line| line.split(['(', '<']).next()).collect();
        // Written out above.
        names.retain(|name| !["learning", "learning_mut", "stages", "inner", "inner_mut"].contains(name));
        names.sort_unstable();
        names
    }

    #[test]
    fn every_method_crosses() {
        fn held<T: Listed + ?Sized>(name: &str, source: &str) {
            let mut listed = T::METHODS.to_vec();
            listed.sort_unstable();
            assert_eq!(listed, written(name, source), "`crossing!` must list every method of {name}");
        }
        held::<dyn Augment>("Augment", include_str!("../augment.rs"));
        held::<dyn Loss>("Loss", include_str!("../loss.rs"));
        held::<dyn Attack>("Attack", include_str!("../attack.rs"));
        held::<dyn Learning>("Learning", include_str!("../attack/learning.rs"));
        held::<dyn DataSource>("DataSource", include_str!("../data/source.rs"));
        held::<dyn Objective>("Objective", include_str!("../objective.rs"));
        held::<dyn Model>("Model", include_str!("../model.rs"));
        held::<dyn Scheduler>("Scheduler", include_str!("../scheduler.rs"));
        held::<dyn Optimizer>("Optimizer", include_str!("../optim.rs"));
        held::<dyn Update>("Update", include_str!("../update.rs"));
        held::<dyn Average>("Average", include_str!("../average.rs"));
    }

    struct Panics;

    impl Objective for Panics {
        fn value(&self, _: &Tensor, _: Reference) -> Tensor {
            panic!("the formula is wrong")
        }
    }

    /// As another copy of the framework would call it.
    #[test]
    fn a_panic_crosses_as_an_error_and_goes_on_as_a_panic() {
        let mut held = Held::<dyn Objective>::new(Box::new(Panics));
        held.home += 1;
        let z = Tensor::from_slice2(&[[0.0, 1.0]]);
        let reference = Reference { y: &Tensor::from_slice(&[0i64]), clean: None };
        let error = guard(|| Ok(held.value(&z, reference))).unwrap_err();
        assert!(error.message().starts_with("the formula is wrong (at "), "{error}");
        assert_eq!(held.least_classes(), 2);
    }

    struct AsksBack;

    impl Model for AsksBack {
        fn forward(&self, _: &Pass, xs: &Tensor) -> Tensor {
            xs.shallow_clone()
        }
        fn input_gradient(
            &self,
            _: &Pass,
            xs: &Tensor,
            d_logits: &dyn Fn(&Tensor) -> Tensor,
        ) -> Option<(Tensor, Tensor)> {
            Some((d_logits(xs), xs.shallow_clone()))
        }
    }

    #[test]
    fn what_a_model_calls_back_may_panic_too() {
        let mut held = Held::<dyn Model>::new(Box::new(AsksBack));
        held.home += 1;
        let params = crate::nn::Builder::default().finish(None, tch::Kind::Float, tch::Device::Cpu);
        let (pass, xs) = (params.pass(Mode::Eval, false, false, 0, None), Tensor::from_slice(&[1f32]));
        let (gradient, _) = held.input_gradient(&pass, &xs, &|z| z * 2.0).unwrap();
        assert_eq!(gradient.double_value(&[0]), 2.0);
        let error =
            guard(|| Ok(held.input_gradient(&pass, &xs, &|_| raise(Err(Error::new("no").help("so")))))).unwrap_err();
        assert_eq!((error.message(), error.suggestion()), ("no", Some("so")));
    }
}
