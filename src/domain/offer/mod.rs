//! SDP offers of pages: checked by a scanner, and passed on byte for byte except for what a setting removes.

mod addresses;
mod channel;
mod scan;
#[cfg(test)]
mod tests;

use std::fmt;

pub use channel::RemovedChannel;

/// Longest offer, in bytes. Chromium's offer for audio has 2 KiB, with video and all codecs 7 KiB.
pub const LONGEST_OFFER: usize = 64 * 1024;

/// An SDP offer that passed the scanner. Hides itself, because it holds the page's addresses and ICE password.
#[derive(Clone, PartialEq, Eq)]
pub struct Offer {
    text: Box<str>,
    has_video: bool,
}

/// Error for an offer that is not passed on. Says what to send instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// More bytes than [`LONGEST_OFFER`].
    #[error("The offer is longer than 64 KiB. Send the sdp of one RTCPeerConnection's offer.")]
    TooLarge,
    /// No UTF-8 text that begins with `v=0`.
    #[error(
        "The body is no SDP offer. Send the sdp of an RTCPeerConnection's offer: text that begins with v=0."
    )]
    NotSdp,
    /// A line, counted from 1, that is no line of SDP.
    #[error(
        "Line {0} of the offer is no line of SDP: a small letter, an equals sign, and at most 4096 bytes without control \
         characters. Send the sdp as the browser made it."
    )]
    Line(usize),
    /// More lines or media sections than a call needs.
    #[error(
        "The offer has too many lines or media sections. Offer one audio track and at most one data channel."
    )]
    TooMany,
    /// A media section, counted from 1, that is malformed or of a kind that no call has.
    #[error(
        "Media section {0} of the offer cannot be used. Offer audio, and if you like a data channel."
    )]
    Section(usize),
    /// No audio section, or several.
    #[error(
        "The offer must have exactly one audio section. Add one audio track or transceiver, for sound both ways."
    )]
    Audio,
    /// Several data channel sections.
    #[error(
        "The offer has several application sections. All data channels of a connection share one."
    )]
    Channels,
    /// Two sections with the same `a=mid`, or an `a=mid` that is no word.
    #[error("The a=mid values of the offer must be words, one to a section and all different.")]
    Mid,
    /// An attribute without which no connection can be made.
    #[error("The offer has no a={0} line. Send the offer of an RTCPeerConnection, which has it.")]
    Missing(&'static str),
}

impl Offer {
    /// Checks a body. Takes well below a millisecond for any body.
    pub fn parse(body: &[u8]) -> Result<Self, OfferError> {
        if body.len() > LONGEST_OFFER {
            return Err(OfferError::TooLarge);
        }
        let text = str::from_utf8(body).map_err(|_| OfferError::NotSdp)?;
        let has_video = scan::check(text)?;
        Ok(Self {
            text: text.into(),
            has_video,
        })
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns true when the offer has a video section. The persona says whether it may.
    pub fn has_video(&self) -> bool {
        self.has_video
    }

    /// Returns the offer without ICE candidates and without the page's addresses in other lines. A peer with a public
    /// address, like the provider's, needs neither: it learns the page's address from the page's first packet.
    #[must_use]
    pub fn without_candidates(&self) -> Self {
        Self {
            text: addresses::removed(&self.text).into(),
            has_video: self.has_video,
        }
    }

    /// Returns the offer without its data channel, and the channel, which the answer has to refuse. `None` when the offer
    /// has none.
    pub fn without_channel(&self) -> Option<(Self, RemovedChannel)> {
        let (text, channel) = channel::removed(&self.text)?;
        let offer = Self {
            text: text.into(),
            has_video: self.has_video,
        };
        Some((offer, channel))
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Offer({} bytes)", self.text.len())
    }
}
