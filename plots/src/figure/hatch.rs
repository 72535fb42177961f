//! Hatching of areas and dashing of lines, which tell groups apart in greyscale print and for colour-blind readers.

/// The pattern of an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hatch {
    /// No hatching.
    Plain,
    /// Diagonal lines that rise to the right.
    Rising,
    /// Diagonal lines that fall to the right.
    Falling,
    /// Horizontal lines.
    Level,
    /// Diagonal lines in both directions.
    Crossed,
    /// Vertical lines.
    Upright,
}

impl Hatch {
    /// The patterns of groups 0 to 5.
    pub(super) const ALL: [Self; 6] =
        [Self::Plain, Self::Rising, Self::Falling, Self::Level, Self::Crossed, Self::Upright];

    /// Unit normals of the pattern's lines.
    fn normals(self) -> &'static [(f64, f64)] {
        const D: f64 = std::f64::consts::FRAC_1_SQRT_2;
        match self {
            Self::Plain => &[],
            Self::Rising => &[(D, D)],
            Self::Falling => &[(D, -D)],
            Self::Level => &[(0.0, 1.0)],
            Self::Crossed => &[(D, D), (D, -D)],
            Self::Upright => &[(1.0, 0.0)],
        }
    }
}

/// The strokes of a pattern, `spacing` apart, clipped to a polygon, which may be concave.
/// All strokes of a figure lie on one grid, so that adjacent areas match.
pub(super) fn strokes(polygon: &[(i32, i32)], hatch: Hatch, spacing: f64) -> Vec<[(i32, i32); 2]> {
    let mut all = Vec::new();
    for &normal in hatch.normals() {
        let along = (-normal.1, normal.0);
        let dot = |a: (f64, f64), b: (f64, f64)| a.0 * b.0 + a.1 * b.1;
        let corners: Vec<(f64, f64)> = polygon.iter().map(|&(x, y)| (f64::from(x), f64::from(y))).collect();
        let depths: Vec<f64> = corners.iter().map(|&corner| dot(corner, normal)).collect();
        let least = depths.iter().copied().fold(f64::INFINITY, f64::min);
        let most = depths.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !(least < most && spacing > 0.0) {
            continue;
        }
        // Offset by half a step, so that a stroke rarely coincides with an edge.
        let mut n = (least / spacing - 0.5).ceil();
        while (n + 0.5) * spacing < most {
            let depth = (n + 0.5) * spacing;
            let mut crossings: Vec<f64> = Vec::new();
            for at in 0..corners.len() {
                let next = (at + 1) % corners.len();
                let (a, b) = (depths[at], depths[next]);
                // Half-open comparison, so that a stroke through a corner crosses once.
                if (a <= depth) != (b <= depth) {
                    let share = (depth - a) / (b - a);
                    let (from, to) = (dot(corners[at], along), dot(corners[next], along));
                    crossings.push(from + share * (to - from));
                }
            }
            crossings.sort_by(f64::total_cmp);
            let place = |t: f64| {
                let (x, y) = (normal.0 * depth + along.0 * t, normal.1 * depth + along.1 * t);
                (x.round() as i32, y.round() as i32)
            };
            all.extend(crossings.chunks_exact(2).map(|pair| [place(pair[0]), place(pair[1])]));
            n += 1.0;
        }
    }
    all
}

/// Alternating lengths of dashes and gaps in points; empty for a solid line.
pub(super) const DASHES: [&[f64]; 5] = [&[], &[5.0, 2.0], &[1.2, 1.8], &[6.0, 1.8, 1.2, 1.8], &[9.0, 3.0]];

/// Splits a path into dashes. `lengths` alternates between dash and gap, in canvas units.
pub(super) fn dashed(path: &[(i32, i32)], lengths: &[i32]) -> Vec<Vec<(i32, i32)>> {
    if lengths.iter().all(|length| *length <= 0) {
        return vec![path.to_vec()];
    }
    let (mut out, mut turn) = (Vec::new(), 0_usize);
    let mut left = f64::from(lengths[0]);
    let mut current: Vec<(i32, i32)> = path.first().copied().into_iter().collect();
    for pair in path.windows(2) {
        let (from, to) = ((f64::from(pair[0].0), f64::from(pair[0].1)), (f64::from(pair[1].0), f64::from(pair[1].1)));
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let share = done / length;
            let place = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
            let place = (place.0.round() as i32, place.1.round() as i32);
            if turn.is_multiple_of(2) {
                current.push(place);
                out.push(std::mem::take(&mut current));
            } else {
                current = vec![place];
            }
            turn += 1;
            left = f64::from(lengths[turn % lengths.len()].max(1));
        }
        left -= length - done;
        if turn.is_multiple_of(2) {
            current.push(pair[1]);
        }
    }
    if current.len() > 1 {
        out.push(current);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strokes_stay_within_a_concave_outline() {
        // A U: the level strokes above its floor are two each.
        let u = [(0, 0), (0, 100), (90, 100), (90, 0), (60, 0), (60, 70), (30, 70), (30, 0)];
        let level = strokes(&u, Hatch::Level, 10.0);
        assert_eq!(level.iter().filter(|stroke| stroke[0].1 < 70).count(), 14);
        assert_eq!(level.iter().filter(|stroke| stroke[0].1 > 70).count(), 3);
        for hatch in Hatch::ALL {
            for [a, b] in strokes(&u, hatch, 7.0) {
                for (x, y) in [a, b] {
                    assert!((0..=90).contains(&x) && (0..=100).contains(&y), "{hatch:?} {x} {y}");
                }
                let middle = (i32::midpoint(a.0, b.0), i32::midpoint(a.1, b.1));
                assert!(!((31..59).contains(&middle.0) && middle.1 < 69), "{hatch:?} in the hollow: {a:?} {b:?}");
            }
        }
        assert!(strokes(&u, Hatch::Plain, 7.0).is_empty() && strokes(&[], Hatch::Level, 7.0).is_empty());
    }

    #[test]
    fn dashes_continue_around_a_corner() {
        let path = [(0, 0), (25, 0), (25, 25)];
        assert_eq!(
            dashed(&path, &[10, 10]),
            [vec![(0, 0), (10, 0)], vec![(20, 0), (25, 0), (25, 5)], vec![(25, 15), (25, 25)]]
        );
        assert_eq!(dashed(&path, &[]), [path.to_vec()]);
    }
}
