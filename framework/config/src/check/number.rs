//! Numbers: whole ones, bounds, units, and fractions such as `8/255`.

use super::{Checker, Spot, expect};
use crate::node::{Kind, Node};
use crate::schema::{Keywords, types};
use crate::show;
use serde_json::Value as Json;
use serde_yaml::{Number, Value as Yaml};

impl Checker<'_> {
    /// A number as YAML has it. `10.0` is refused where a whole number is needed: the author
    /// probably expects fractions to count.
    pub(super) fn number(&mut self, node: &Node, keywords: &Keywords<'_>, spot: &Spot<'_>) -> Yaml {
        match node.kind {
            Kind::Float(value) if !value.is_finite() => {
                self.problem(spot, format!("{} is {}, which is not a number", spot.name(), node.describe()), "");
            }
            Kind::Float(value) if needs_whole(keywords) => {
                let message = format!("{} is {}, but takes a whole number", spot.name(), node.describe());
                let exact = value.fract() == 0.0 && value.abs() < 2f64.powi(53) && fits(value, keywords);
                self.problem(spot, message, if exact { format!("write `{value:.0}`") } else { String::new() });
            }
            Kind::Float(value) => self.in_range(value, &node.describe(), keywords, spot),
            Kind::Int(value) => self.in_range(value as f64, &node.describe(), keywords, spot),
            _ => {}
        }
        node.to_yaml()
    }

    /// `8/255` becomes the number that it means.
    pub(super) fn fraction(&mut self, text: &str, value: f64, keywords: &Keywords<'_>, spot: &Spot<'_>) -> Yaml {
        let shown = format!("`{}`", show::short(text));
        if needs_whole(keywords) {
            self.problem(spot, format!("{} is {shown}, but takes a whole number", spot.name()), "");
        } else {
            self.in_range(value, &shown, keywords, spot);
        }
        Yaml::Number(Number::from(value))
    }

    fn in_range(&mut self, value: f64, shown: &str, keywords: &Keywords<'_>, spot: &Spot<'_>) {
        if !is_inside(value, keywords) {
            if is_image_unit(keywords) && value > 1.0 {
                let help = match value {
                    _ if fits(value / 255.0, keywords) && !shown.contains('/') => format!("write `{value}/255`"),
                    _ => "write it as `8/255`, or as `0.031`".to_string(),
                };
                let message = format!("{} is {shown}, but images are scaled to [0, 1]", spot.name());
                self.problem(spot, message, help);
            } else {
                let expected = expect::bounds(keywords).unwrap_or_default();
                let help = expect::manual(&spot.name(), keywords, std::slice::from_ref(keywords));
                self.problem(spot, format!("{} is {shown}, but must be {expected}", spot.name()), help);
            }
            return;
        }
        let (low, high) = width(keywords).unwrap_or((value, value));
        if value < low || value > high {
            let expected = if value < low { format!("at least {low}") } else { format!("at most {high}") };
            let help = expect::manual(&spot.name(), keywords, std::slice::from_ref(keywords));
            self.problem(spot, format!("{} is {shown}, but must be {expected}", spot.name()), help);
        }
    }
}

fn is_inside(value: f64, keywords: &Keywords<'_>) -> bool {
    let bound = |key: &str| keywords.get(key).and_then(Json::as_f64);
    bound("minimum").is_none_or(|low| value >= low)
        && bound("exclusiveMinimum").is_none_or(|low| value > low)
        && bound("maximum").is_none_or(|high| value <= high)
        && bound("exclusiveMaximum").is_none_or(|high| value < high)
}

/// Whether the schema takes the number: only then is it worth suggesting.
fn fits(value: f64, keywords: &Keywords<'_>) -> bool {
    is_inside(value, keywords) && width(keywords).is_none_or(|(low, high)| (low..=high).contains(&value))
}

fn needs_whole(keywords: &Keywords<'_>) -> bool {
    let types = types(keywords);
    types.contains(&"integer") && !types.contains(&"number")
}

pub(super) fn is_image_unit(keywords: &Keywords<'_>) -> bool {
    keywords.get("x-unit").and_then(Json::as_str) == Some("image")
}

/// The range of the Rust type behind the schema, which schemars gives as `format`.
fn width(keywords: &Keywords<'_>) -> Option<(f64, f64)> {
    Some(match keywords.get("format").and_then(Json::as_str)? {
        "uint8" => (0.0, u8::MAX.into()),
        "uint16" => (0.0, u16::MAX.into()),
        "uint32" => (0.0, u32::MAX.into()),
        "uint64" | "uint" => (0.0, u64::MAX as f64),
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" | "int" => (i64::MIN as f64, i64::MAX as f64),
        _ => return None,
    })
}
