//! A trie that finds the longest token that a text starts with.
//!
//! The trie is a double array: the child of a node for a byte is at the node's `children` number XOR the byte, so that a
//! step is one access to memory. No two nodes share a number, so the byte alone tells whose child a place holds.

use std::collections::VecDeque;

/// Stands for "no token ends here".
pub(super) const NONE: u16 = u16::MAX;
/// Label of a place that holds no node.
const FREE: u16 = u16::MAX;
/// Number of places that are added at once: those that the children of one number can have.
const BLOCK: usize = 256;
/// Number of the last blocks in which places are searched, so that building stays linear.
const TRIED_BLOCKS: usize = 2;

pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Node {
    /// Number that locates the node's children; 0 if it has none. The root, which is not stored, has its children at 0.
    children: u32,
    /// Token that ends here, or [`NONE`].
    token: u16,
    /// Last byte of the text that leads here, or [`FREE`].
    label: u16,
}

impl Trie {
    /// Builds a trie of `tokens`, which are numbered by their position and must include every single byte. Returns `None` if
    /// two are equal.
    pub fn new(tokens: &[&[u8]]) -> Option<Self> {
        let mut sorted: Vec<(&[u8], u16)> = tokens.iter().copied().zip(0..NONE).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let mut builder = Builder { nodes: vec![Node::EMPTY; BLOCK], taken: vec![true; BLOCK] };
        // Nodes whose children have no place yet: the tokens that start with the text that leads there, that text's length,
        // and the node's place.
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

    /// Returns the longest token that `text`, which must not be empty, starts with, and its length.
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
    /// Whether a node has taken a `children` number, by that number.
    taken: Vec<bool>,
}

impl Builder {
    /// Returns a number by which all of `labels` have free places.
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
        // Many children: more than one block of them.
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
