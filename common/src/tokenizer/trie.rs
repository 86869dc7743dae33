//! The longest token that a text starts with, and nothing else of the tokens.
//!
//! A trie in a double array: the children of a node are at its `children` number exclusive-or their byte, so that a step is
//! one look at memory; no two nodes share that number, so the byte alone tells whose child a place holds.

use std::collections::VecDeque;

/// Stands for "no token ends here".
pub(super) const NONE: u16 = u16::MAX;
/// The label of a place that holds no node.
const FREE: u16 = u16::MAX;
/// Places are added by so many at once: those that children of one number can have.
const BLOCK: usize = 256;
/// Places are looked for in the last so many blocks, so that building stays linear.
const TRIED_BLOCKS: usize = 2;

pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Node {
    /// Where its children are; 0 if it has none. The root, which is not stored, has its children at 0.
    children: u32,
    /// The token that ends here, or [`NONE`].
    token: u16,
    /// The last byte of what leads here, or [`FREE`].
    label: u16,
}

impl Trie {
    /// Of `tokens`, which are numbered by their place and among which must be every single byte; `None` if two are equal.
    pub fn new(tokens: &[&[u8]]) -> Option<Self> {
        let mut sorted: Vec<(&[u8], u16)> = tokens.iter().copied().zip(0..NONE).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let mut builder = Builder { nodes: vec![Node::EMPTY; BLOCK], taken: vec![true; BLOCK] };
        // Nodes whose children have no place yet: the tokens that start with what leads there, how long that is, and its place.
        let mut nodes = VecDeque::from([(&sorted[..], 0, None::<usize>)]);
        while let Some((mut tokens, depth, place)) = nodes.pop_front() {
            if tokens[0].0.len() == depth {
                builder.nodes[place?].token = tokens[0].1;
                tokens = &tokens[1..];
            }
            if tokens.is_empty() {
                continue;
            }
            let children: Vec<_> = tokens.chunk_by(|a, b| a.0[depth] == b.0[depth]).collect();
            let labels: Vec<u8> = children.iter().map(|tokens| tokens[0].0[depth]).collect();
            let base = place.map_or(0, |_| builder.base_for(&labels));
            if let Some(place) = place {
                builder.nodes[place].children = base as u32;
            }
            for (tokens, label) in children.into_iter().zip(labels) {
                let place = base ^ usize::from(label);
                builder.nodes[place].label = label.into();
                nodes.push_back((tokens, depth + 1, Some(place)));
            }
        }
        Some(Trie { nodes: builder.nodes })
    }

    /// The longest token that `text`, which is not empty, starts with, and its length.
    #[inline]
    pub fn longest(&self, text: &[u8]) -> (u16, usize) {
        let mut node = self.nodes[usize::from(text[0])];
        let mut found = (node.token, 1);
        for (length, byte) in (2..).zip(&text[1..]) {
            if node.children == 0 {
                break;
            }
            node = self.nodes[node.children as usize ^ usize::from(*byte)];
            if node.label != u16::from(*byte) {
                break;
            }
            if node.token != NONE {
                found = (node.token, length);
            }
        }
        found
    }
}

impl Node {
    const EMPTY: Node = Node { children: 0, token: NONE, label: FREE };
}

struct Builder {
    nodes: Vec<Node>,
    /// By number of children, whether a node has it.
    taken: Vec<bool>,
}

impl Builder {
    /// A number by which all of `labels` have free places.
    fn base_for(&mut self, labels: &[u8]) -> usize {
        let is_free = |base: &usize| {
            let mut places = labels.iter().map(|label| base ^ usize::from(*label));
            !self.taken[*base] && places.all(|place| self.nodes[place].label == FREE)
        };
        let recent = self.nodes.len().saturating_sub(TRIED_BLOCKS * BLOCK);
        let base = (recent..self.nodes.len()).find(is_free).unwrap_or(self.nodes.len());
        if base == self.nodes.len() {
            self.nodes.resize(base + BLOCK, Node::EMPTY);
            self.taken.resize(base + BLOCK, false);
        }
        self.taken[base] = true;
        base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_is_found() {
        let mut tokens: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        tokens.extend(["ab", "abcd", "abce", "b\0", "\0\0\0"].map(|token| token.as_bytes().to_vec()));
        // Many children, more than one block of them.
        tokens.extend((0..=u8::MAX).flat_map(|byte| [vec![b'x', byte], vec![b'x', b'y', byte]]));
        let tokens: Vec<&[u8]> = tokens.iter().map(Vec::as_slice).collect();
        let trie = Trie::new(&tokens).unwrap();
        let check = |text: &[u8], expected: &[u8]| {
            let (token, length) = trie.longest(text);
            assert_eq!((tokens[usize::from(token)], length), (expected, expected.len()), "{text:?}");
        };
        check(b"a", b"a");
        check(b"abc", b"ab");
        check(b"abcde", b"abcd");
        check(b"abcf", b"ab");
        check(b"b\0", b"b\0");
        check(b"\0\0", b"\0");
        check(b"\0\0\0\0", b"\0\0\0");
        for token in &tokens {
            check(token, token);
        }
        assert!(Trie::new(&[b"a", b"b", b"a"]).is_none());
    }
}
