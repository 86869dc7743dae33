//! Fits a line of progress into the width of a terminal: a narrow one loses the least important part first.

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    text: String,
    importance: Importance,
}

/// Importance of a part, the least important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// Details of the update: learning rate and norm of the gradients.
    Detail,
    /// What other parts also tell, such as a bar beside numbers.
    Picture,
    /// How well the machine is used.
    Speed,
    /// Results that also have a line of their own, such as a validation loss.
    Result,
    /// Time that is left.
    Left,
    /// What the line is about.
    Subject,
    /// The position in the run.
    Position,
}

impl Part {
    /// Creates a part.
    pub fn new(importance: Importance, text: impl Into<String>) -> Self {
        Part { text: text.into(), importance }
    }
}

/// Joins `parts` to a line of at most `width` columns. Where they do not fit, leaves out the least important ones, of equals the
/// last, but not the most important.
pub fn fitted(mut parts: Vec<Part>, width: usize) -> String {
    while parts.len() > 1 && joined(&parts).chars().count() > width {
        let least = parts.iter().map(|part| part.importance).min();
        if let Some(last) = parts.iter().rposition(|part| Some(part.importance) == least) {
            parts.remove(last);
        }
    }
    joined(&parts)
}

fn joined(parts: &[Part]) -> String {
    let texts: Vec<&str> = parts.iter().map(|part| &*part.text).collect();
    texts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_loses_the_least_important_parts_in_turn() {
        let parts = || {
            vec![
                Part::new(Importance::Position, "1/8"),
                Part::new(Importance::Subject, "loss 6.1"),
                Part::new(Importance::Detail, "lr 1"),
                Part::new(Importance::Detail, "norm 2"),
                Part::new(Importance::Left, "left 9s"),
            ]
        };
        let whole = "1/8  loss 6.1  lr 1  norm 2  left 9s";
        for (width, expected) in [
            (usize::MAX, whole),
            (36, whole),
            (35, "1/8  loss 6.1  lr 1  left 9s"),
            (27, "1/8  loss 6.1  left 9s"),
            (21, "1/8  loss 6.1"),
            (12, "1/8"),
            (1, "1/8"),
        ] {
            assert_eq!(fitted(parts(), width), expected, "{width}");
        }
        assert_eq!(fitted(Vec::new(), 0), "");
    }
}
