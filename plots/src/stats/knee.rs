//! The knee of a curve: the point after which an increase of x costs disproportionately more or gains
//! disproportionately less.

/// The number of points from which on a knee is searched for.
pub const MIN_POINTS: usize = 4;

/// The index of the knee of a curve, by Kneedle with sensitivity S = 1 (V. Satopaa, J. Albrecht, D. Irwin, B.
/// Raghavan, Finding a "Kneedle" in a haystack: detecting knee points in system behavior, ICDCS Workshops 2011). The
/// points are not smoothed by a spline, because they are few. Of several knees, the one farthest from the straight
/// line is returned.
///
/// `points` are in order of rising x. Whether the curve is concave or convex, rising or falling, is decided by its
/// overall shape. `None` below [`MIN_POINTS`], for a flat curve, and if no point exceeds Kneedle's threshold, the
/// mean distance between points.
#[must_use]
pub fn kneedle(points: &[(f64, f64)]) -> Option<usize> {
    let n = points.len();
    if n < MIN_POINTS {
        return None;
    }
    let (first, last) = (points[0], points[n - 1]);
    let low = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    if !(last.0 > first.0 && high > low) {
        return None;
    }
    // Normalised to the unit square; a falling curve is mirrored.
    let falls = last.1 < first.1;
    let unit = |&(x, y): &(f64, f64)| {
        let (x, y) = ((x - first.0) / (last.0 - first.0), (y - low) / (high - low));
        (x, if falls { 1.0 - y } else { y })
    };
    let unit: Vec<(f64, f64)> = points.iter().map(unit).collect();
    let concave = unit.iter().map(|(x, y)| y - x).sum::<f64>() >= 0.0;
    // A convex curve is a concave curve rotated by 180 degrees, which reverses the order of its points.
    let mut above: Vec<f64> = unit.iter().map(|(x, y)| if concave { y - x } else { x - y }).collect();
    if !concave {
        above.reverse();
    }
    let threshold = 1.0 / (n - 1) as f64;
    let is_maximum = |at: &usize| above[*at] >= above[at - 1] && above[*at] > above[at + 1];
    let maxima: Vec<usize> = (1..n - 1).filter(is_maximum).collect();
    // A maximum is a knee if the distance falls below the threshold before the next maximum.
    let declared = |&(order, &at): &(usize, &usize)| {
        let next = maxima.get(order + 1).copied().unwrap_or(n);
        above[at + 1..next].iter().any(|distance| *distance < above[at] - threshold)
    };
    let knees = maxima.iter().enumerate().filter(declared).map(|(_, at)| *at);
    let found = knees.max_by(|a, b| above[*a].total_cmp(&above[*b]))?;
    Some(if concave { found } else { n - 1 - found })
}

/// The value at `x` of the straight line between the ends of a curve, from which Kneedle measures distances.
#[must_use]
pub fn chord(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    (last.0 > first.0).then(|| first.1 + (x - first.0) / (last.0 - first.0) * (last.1 - first.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's figure 2: y = -1 / (x + 0.1) + 5, ten points; its knee is at x = 0.22.
    #[test]
    fn the_curve_of_the_kneedle_paper_has_its_knee() {
        let points: Vec<(f64, f64)> =
            (0..10).map(|n| f64::from(n) / 9.0).map(|x| (x, -1.0 / (x + 0.1) + 5.0)).collect();
        assert_eq!(kneedle(&points), Some(2));
        let mirrored: Vec<(f64, f64)> = points.iter().map(|(x, y)| (*x, -y)).collect();
        assert_eq!(kneedle(&mirrored), Some(2), "falling and convex");
        let turned: Vec<(f64, f64)> = points.iter().rev().map(|(x, y)| (1.0 - x, -y)).collect();
        assert_eq!(kneedle(&turned), Some(7), "rising and convex");
        let both: Vec<(f64, f64)> = points.iter().rev().map(|(x, y)| (1.0 - x, *y)).collect();
        assert_eq!(kneedle(&both), Some(7), "falling and concave");
    }

    #[test]
    fn a_curve_that_rises_once_all_cpus_are_used_has_its_knee_there() {
        let points = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0].map(|x: f64| (x, 100.0_f64.max(100.0 * x / 8.0)));
        assert_eq!(kneedle(&points), Some(3));
    }

    #[test]
    fn a_straight_line_a_flat_line_and_too_few_points_have_no_knee() {
        let line: Vec<(f64, f64)> = (0..8).map(|n| (f64::from(n), 3.0 + 2.0 * f64::from(n))).collect();
        assert_eq!(kneedle(&line), None);
        assert_eq!(kneedle(&[(1.0, 5.0), (2.0, 5.0), (3.0, 5.0), (4.0, 5.0)]), None);
        assert_eq!(kneedle(&[(0.0, 0.0), (0.1, 0.9), (1.0, 1.0)]), None);
        assert_eq!(kneedle(&[]), None);
        assert_eq!(chord(&[(1.0, 10.0), (2.0, 99.0), (3.0, 30.0)], 2.0), Some(20.0));
    }
}
