//! Values as colours.

/// The meaning of an image's values, and so their colours. A NaN is magenta.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Palette {
    /// An image with values in [0, 1].
    #[default]
    Plain,
    /// A change, from `-limit` over 0 to `limit`, which is `eps` for a perturbation. One channel:
    /// blue, white, red. Three channels: each colour around grey.
    Diverging {
        /// The change that gets the full colour, in image units.
        limit: f32,
    },
    /// An amount, such as a mask: from 0, dark violet, over green to `limit`, yellow. Of three
    /// channels the mean is shown.
    Sequential {
        /// The amount that gets the full colour.
        limit: f32,
    },
}

/// The ends of ColorBrewer's RdBu, and white between them.
const CHANGE: [[u8; 3]; 3] = [[33, 102, 172], [255, 255, 255], [178, 24, 43]];
/// Five points of matplotlib's viridis.
const AMOUNT: [[u8; 3]; 5] = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const NOT_A_NUMBER: [u8; 3] = [255, 0, 255];

impl Palette {
    /// The colour of one value.
    pub(super) fn grey(self, value: f32) -> [u8; 3] {
        match self {
            _ if value.is_nan() => NOT_A_NUMBER,
            Palette::Plain => [byte(value); 3],
            Palette::Diverging { limit } => along(&CHANGE, 0.5 + 0.5 * share(value, limit)),
            Palette::Sequential { limit } => along(&AMOUNT, share(value, limit)),
        }
    }

    /// The colour of red, green and blue.
    pub(super) fn colour(self, values: [f32; 3]) -> [u8; 3] {
        match self {
            _ if values.iter().any(|value| value.is_nan()) => NOT_A_NUMBER,
            Palette::Plain => values.map(byte),
            Palette::Diverging { limit } => values.map(|value| byte(0.5 + 0.5 * share(value, limit))),
            Palette::Sequential { .. } => self.grey(values.iter().sum::<f32>() / 3.0),
        }
    }
}

/// `value` in units of `limit`. Of a limit of 0 everything is the end, and 0 the middle.
fn share(value: f32, limit: f32) -> f32 {
    if value == 0.0 { 0.0 } else { (value / limit.abs()).clamp(-1.0, 1.0) }
}

fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// The colour at `position` in [0, 1] on the way through `stops`.
fn along(stops: &[[u8; 3]], position: f32) -> [u8; 3] {
    let place = position.clamp(0.0, 1.0) * (stops.len() - 1) as f32;
    let (from, to) = (stops[place.floor() as usize], stops[place.ceil() as usize]);
    let mix =
        |channel: usize| f32::from(from[channel]) + (f32::from(to[channel]) - f32::from(from[channel])) * place.fract();
    [mix(0), mix(1), mix(2)].map(|value| value.round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_middles() {
        let change = Palette::Diverging { limit: 0.3 };
        assert_eq!([-0.3, 0.0, 9.0].map(|value| change.grey(value)), CHANGE);
        assert_eq!(change.colour([-0.3, 0.0, 0.3]), [0, 128, 255]);
        let amount = Palette::Sequential { limit: 1.0 };
        assert_eq!([-1.0, 0.0, 0.5, 1.0].map(|value| amount.grey(value)), [AMOUNT[0], AMOUNT[0], AMOUNT[2], AMOUNT[4]]);
        assert_eq!([-1.0, 0.5, 2.0].map(|value| Palette::Plain.grey(value)), [[0; 3], [128; 3], [255; 3]]);
    }

    #[test]
    fn odd_numbers_have_a_colour_too() {
        for palette in [Palette::Plain, Palette::Diverging { limit: 0.0 }, Palette::Sequential { limit: f32::NAN }] {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0] {
                palette.grey(value);
                palette.colour([value, 0.0, 1.0]);
            }
            assert_eq!(palette.colour([0.0, f32::NAN, 0.0]), NOT_A_NUMBER);
        }
        assert_eq!(Palette::Diverging { limit: 0.0 }.grey(0.0), [255; 3]);
    }
}
