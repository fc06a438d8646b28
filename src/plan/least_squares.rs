//! Least squares for a handful of unknowns: Levenberg–Marquardt (Marquardt 1963, damping on the diagonal of JᵀJ),
//! with a Jacobian by central differences.

/// Steps at most; measured fits end after some twenty.
const MAX_STEPS: usize = 500;
/// Width of the differences. Unknowns are logarithms, so this is relative.
const DIFFERENCE: f64 = 1e-6;
/// Longest step per unknown: a factor of e² between two tries.
const MAX_STEP: f64 = 2.0;
/// A step shorter than this in every unknown ends the search.
const SMALL_STEP: f64 = 1e-10;
/// Damping at which no further progress is to be expected.
const MAX_DAMPING: f64 = 1e12;

/// The unknowns near `start` for which the squares of `residuals` sum to the least (a local minimum). Unknowns
/// should be of the order of 1, as logarithms are. `None` where residuals are not finite at the start, or where
/// there are fewer of them than unknowns.
pub fn minimise(start: &[f64], residuals: &dyn Fn(&[f64]) -> Vec<f64>) -> Option<Vec<f64>> {
    let mut at = start.to_vec();
    let mut rest = residuals(&at);
    if rest.len() < at.len() || !squares(&rest).is_finite() {
        return None;
    }
    let mut damping = 1e-3;
    for _ in 0..MAX_STEPS {
        let (normal, gradient) = normal_equations(&at, &rest, residuals)?;
        let step = loop {
            let step = damped_step(&normal, &gradient, damping);
            let tried: Vec<f64> = at.iter().zip(&step).map(|(x, dx)| x + dx).collect();
            let tried_rest = residuals(&tried);
            if squares(&tried_rest) <= squares(&rest) {
                (at, rest) = (tried, tried_rest);
                damping = (damping / 3.0).max(1e-15);
                break step;
            }
            damping *= 4.0;
            if damping > MAX_DAMPING {
                return Some(at);
            }
        };
        if step.iter().all(|dx| dx.abs() < SMALL_STEP) {
            break;
        }
    }
    Some(at)
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum()
}

/// JᵀJ and Jᵀr at a point; `None` where they are not finite.
fn normal_equations(
    at: &[f64],
    rest: &[f64],
    residuals: &dyn Fn(&[f64]) -> Vec<f64>,
) -> Option<(Vec<Vec<f64>>, Vec<f64>)> {
    let column = |ix: usize| -> Vec<f64> {
        let moved = |by: f64| {
            let mut point = at.to_vec();
            point[ix] += by;
            residuals(&point)
        };
        let (up, down) = (moved(DIFFERENCE), moved(-DIFFERENCE));
        up.iter().zip(&down).map(|(u, d)| (u - d) / (2.0 * DIFFERENCE)).collect()
    };
    let columns: Vec<Vec<f64>> = (0..at.len()).map(column).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let normal: Vec<Vec<f64>> = columns.iter().map(|a| columns.iter().map(|b| dot(a, b)).collect()).collect();
    let gradient: Vec<f64> = columns.iter().map(|a| dot(a, rest)).collect();
    let finite = normal.iter().flatten().chain(&gradient).all(|x| x.is_finite());
    finite.then_some((normal, gradient))
}

/// The solution of (JᵀJ + damping · diagonal) · step = −Jᵀr, each element cut to [`MAX_STEP`]. An unknown without
/// influence has a zero on the diagonal: a trace of the largest one keeps it in place.
fn damped_step(normal: &[Vec<f64>], gradient: &[f64], damping: f64) -> Vec<f64> {
    let n = gradient.len();
    let largest = (0..n).map(|i| normal[i][i]).fold(f64::MIN_POSITIVE, f64::max);
    let mut rows: Vec<Vec<f64>> = normal.to_vec();
    for i in 0..n {
        rows[i][i] += damping * (normal[i][i] + 1e-9 * largest) + 1e-15 * largest;
        rows[i].push(-gradient[i]);
    }
    // Gauss without pivoting: the matrix is symmetric and positive definite.
    for i in 0..n {
        let (above, below) = rows.split_at_mut(i + 1);
        for row in below {
            let factor = row[i] / above[i][i];
            row.iter_mut().zip(&above[i]).for_each(|(x, y)| *x -= factor * y);
        }
    }
    let mut step = vec![0.0; n];
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|col| rows[i][col] * step[col]).sum();
        step[i] = (rows[i][n] - known) / rows[i][i];
    }
    step.iter().map(|dx| dx.clamp(-MAX_STEP, MAX_STEP)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decaying_curve_is_found_again() {
        // y = e^a · exp(−e^b · x)
        let curve = |p: &[f64], x: f64| p[0].exp() * (-p[1].exp() * x).exp();
        let xs: Vec<f64> = (0..12).map(|i| i as f64 * 0.25).collect();
        let want = [1.2, -0.4];
        let found = minimise(&[0.0, 0.0], &|p| xs.iter().map(|&x| curve(p, x) - curve(&want, x)).collect());
        let found = found.unwrap();
        assert!(found.iter().zip(want).all(|(f, w)| (f - w).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn an_unknown_without_influence_stays_and_bad_input_is_none() {
        let found = minimise(&[0.0, 0.5], &|p| vec![p[0] - 3.0, 2.0 * p[0] - 6.0]).unwrap();
        assert!((found[0] - 3.0).abs() < 1e-6 && found[1] == 0.5, "{found:?}");
        assert_eq!(minimise(&[0.0], &|_| vec![f64::NAN]), None);
        assert_eq!(minimise(&[0.0, 0.0], &|p| vec![p[0]]), None);
    }
}
