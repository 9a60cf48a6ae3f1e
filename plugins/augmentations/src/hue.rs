//! Turning hues, as torchvision's `adjust_hue` does it through PIL's 8-bit HSV.

use foil::prelude::*;

/// Images `[N, C, H, W]` with their hues turned by `share` `[N, 1, 1, 1]` of the circle, -0.5 to
/// 0.5. Grey images have none.
pub fn hue(images: &Tensor, share: &Tensor) -> Tensor {
    if images.size()[1] != 3 {
        return images.shallow_clone();
    }
    let [h, s, v] = to_hsv(images);
    // Cut off towards 0, and then modulo 256.
    let steps: Tensor = share.to_kind(Kind::Double) * 255.0;
    let turned: Tensor = h + steps.trunc();
    let turned = turned.remainder(256.0);
    to_rgb(&turned, &s, &v)
}

/// PIL's `convert("HSV")`: three bytes as doubles, `[N, 1, H, W]` each. PIL computes in fp32.
fn to_hsv(images: &Tensor) -> [Tensor; 3] {
    let whole = images.to_kind(Kind::Float);
    let channel = |at: i64| whole.narrow(1, at, 1);
    let [r, g] = [0, 1].map(channel);
    let (most, least) = (whole.amax([1i64].as_slice(), true), whole.amin([1i64].as_slice(), true));
    let range = &most - &least;
    let is_grey = range.eq(0.0);
    let range = range.where_self(&is_grey.logical_not(), &range.ones_like());
    let saturation = &range / most.clamp_min(1.0);
    let [rc, gc, bc] = [0, 1, 2].map(|at| {
        let distance: Tensor = (&most - channel(at)) / &range;
        distance.to_kind(Kind::Double)
    });
    let (of_red, of_green, of_blue): (Tensor, Tensor, Tensor) = (&bc - &gc, &rc + 2.0 - &bc, &gc + 4.0 - &rc);
    let sector = of_blue.where_self(&g.ne_tensor(&most), &of_green).where_self(&r.ne_tensor(&most), &of_red);
    let turn: Tensor = sector.to_kind(Kind::Float).to_kind(Kind::Double) / 6.0 + 1.0;
    let hue = turn.remainder(1.0).to_kind(Kind::Float).to_kind(Kind::Double);
    let byte = |value: Tensor| {
        let value: Tensor = value * 255.0;
        let value = value.floor().clamp(0.0, 255.0);
        value.where_self(&is_grey.logical_not(), &value.zeros_like())
    };
    [byte(hue), byte(saturation.to_kind(Kind::Double)), most.to_kind(Kind::Double)]
}

/// PIL's way back, `[N, 3, H, W]` bytes.
fn to_rgb(h: &Tensor, s: &Tensor, v: &Tensor) -> Tensor {
    let single = |t: Tensor| t.to_kind(Kind::Float).to_kind(Kind::Double);
    let turn = single(h * 6.0 / 255.0);
    let saturation = single(s / 255.0);
    let sector = turn.floor();
    let rest = single(turn - &sector);
    // C rounds halves away from zero.
    let byte = |share: Tensor| -> Tensor {
        let left: Tensor = 1.0 - share;
        let value: Tensor = v * left + 0.5;
        value.floor().clamp(0.0, 255.0)
    };
    let other: Tensor = 1.0 - &rest;
    let p = byte(saturation.shallow_clone());
    let q = byte(&saturation * &rest);
    let t = byte(&saturation * other);
    let sector = sector.remainder(6.0);
    let by_sector = |six: [&Tensor; 6]| {
        let mut found = six[0].shallow_clone();
        for (number, value) in six.into_iter().enumerate().skip(1) {
            found = value.where_self(&sector.eq(number as i64), &found);
        }
        found
    };
    let r = by_sector([v, &q, &p, &p, &t, v]);
    let g = by_sector([&t, v, v, &q, &p, &p]);
    let b = by_sector([&p, &p, &t, v, v, &q]);
    Tensor::cat(&[r, g, b], 1).to_kind(Kind::Uint8)
}
