//! Writes the SDP answer of a call that has no real peer.

use std::fmt::Write as _;

use super::live::{Live, token};
use super::{Dialect, Switches};

/// Returns the answer to the call's offer: as the provider writes it, section by section. Nothing listens at its addresses.
pub(super) fn answer(live: &Live, switches: &Switches) -> String {
    // The provider begins the handshake of a Realtime call itself, whatever it is offered.
    let setup = match live.dialect() {
        Dialect::Realtime => "active",
        Dialect::Live => "passive",
    };
    let (ufrag, password) = (ice(&token::<12>()), ice(&token::<18>()));
    let mut bundle = String::new();
    let mut sections = String::new();
    for section in sections_of(&live.offer) {
        let kind = section.kind;
        let is_taken = kind == "audio" || (kind == "application" && !switches.no_data_channel);
        if is_taken {
            bundle.push(' ');
            bundle.push_str(section.mid);
        }
        let port = if is_taken { "9" } else { "0" };
        let rest = match kind {
            "audio" => format!("UDP/TLS/RTP/SAVPF 96\r\n{AUDIO}"),
            "application" => format!("UDP/DTLS/SCTP webrtc-datachannel\r\n{CHANNEL}"),
            _ => "UDP/TLS/RTP/SAVPF 97\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = write!(
            sections,
            "m={kind} {port} {rest}a=setup:{setup}\r\na=mid:{}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n",
            section.mid
        );
    }
    format!("{HEAD}a=group:BUNDLE{bundle}\r\n{sections}")
}

/// Returns `name` with the characters that ICE allows (RFC 8839 §5.4).
fn ice(name: &str) -> String {
    name.replace('-', "+").replace('_', "/")
}

const HEAD: &str = "v=0\r\no=- 4596005847736977740 1784852417 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=msid-semantic:WMS *\r\n\
    a=fingerprint:sha-256 7E:0E:04:43:C7:E7:91:E3:D3:9D:6B:B2:F5:83:27:62:AE:E0:8E:47:CC:8C:7B:71:04:F8:E3:36:39:1C:E8:D0\r\n\
    a=ice-lite\r\n";
const AUDIO: &str = "c=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:96 opus/48000/2\r\n\
    a=fmtp:96 minptime=10;useinbandfec=1\r\na=sendrecv\r\n\
    a=candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host\r\n";
const CHANNEL: &str =
    "c=IN IP4 0.0.0.0\r\na=sendrecv\r\na=sctp-port:5000\r\na=max-message-size:1073741823\r\n";

/// One media section of an offer.
struct Section<'a> {
    kind: &'a str,
    mid: &'a str,
}

fn sections_of(offer: &str) -> impl Iterator<Item = Section<'_>> {
    let sections = offer.split("\nm=").skip(1);
    sections.filter_map(|text| {
        let kind = text.split(' ').next()?;
        let mid = text.lines().find_map(|line| line.strip_prefix("a=mid:"));
        Some(Section {
            kind,
            mid: mid.unwrap_or("0").trim_end(),
        })
    })
}
