//! Rows CA10, CA11, CA13 to CA16 of the calls' acceptance, as far as the text of an offer goes.

use proptest::prelude::*;

use super::*;

const FINGERPRINT: &str = "sha-256 97:A7:E2:EF:70:B3:AD:B9:06:C8:DF:11:61:01:E5:6F:8F:46:EB:15:50:F2:54:D0:72:51:5B:37:0F:00:21:CB";

fn transport() -> String {
    format!(
        "a=ice-ufrag:YnNx\r\na=ice-pwd:jIsRuXZmV9Yq00qk4a33Xe\r\na=ice-options:trickle\r\n\
         a=fingerprint:{FINGERPRINT}\r\na=setup:actpass\r\n"
    )
}

fn audio(mid: &str) -> String {
    format!(
        "m=audio 51603 UDP/TLS/RTP/SAVPF 111 63 9 0 8\r\nc=IN IP4 192.168.1.7\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=candidate:1 1 udp 2122260223 192.168.1.7 51603 typ host generation 0 network-id 1\r\n\
         a=candidate:2 1 udp 2122194687 10.0.0.3 51604 typ host generation 0\r\n\
         a=candidate:3 1 udp 2122129151 fd00::1 51605 typ host generation 0\r\n\
         a=candidate:4 1 udp 2122063615 3f1c2a8e-5b7d-4c1e-9a2b-0c8d7e6f5a4b.local 51606 typ host\r\n\
         a=candidate:5 1 udp 1685987071 203.0.113.9 51603 typ srflx raddr 192.168.1.7 rport 51603\r\n\
         a=end-of-candidates\r\n{}a=mid:{mid}\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
         a=sendrecv\r\na=msid:- 28299f45\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
         a=fmtp:111 minptime=10;useinbandfec=1\r\na=ssrc:596951577 cname:54390b83\r\n",
        transport()
    )
}

fn channel(mid: &str) -> String {
    format!(
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n{}a=mid:{mid}\r\n\
         a=sctp-port:5000\r\na=max-message-size:262144\r\n",
        transport()
    )
}

fn video(mid: &str) -> String {
    let video = audio(mid).replace("m=audio", "m=video");
    video.replace("opus/48000/2", "VP8/90000")
}

fn session(mids: &str) -> String {
    format!(
        "v=0\r\no=- 3993840254 2 IN IP4 192.168.1.7\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS *\r\n"
    )
}

fn chromium() -> String {
    session("0 1") + &audio("0") + &channel("1")
}

fn parse(text: &str) -> Result<Offer, OfferError> {
    Offer::parse(text.as_bytes())
}

fn kinds(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("m="));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn an_offer_is_kept_byte_for_byte_and_hides_itself() {
    let offer = parse(&chromium()).unwrap();
    assert_eq!(offer.as_str(), chromium());
    assert!(!offer.has_video());
    assert_eq!(
        format!("{offer:?}"),
        format!("Offer({} bytes)", chromium().len())
    );
    let only_audio = session("0") + &audio("0");
    assert_eq!(parse(&only_audio).unwrap().as_str(), only_audio);
}

#[test]
fn ca10_an_offer_without_bounds_is_refused() {
    let long = "a=x\r\n".repeat(13_200);
    assert_eq!(parse(&long[..65_537]), Err(OfferError::TooLarge));
    let many = format!("v=0\r\n{}", "a=x\n".repeat(16_000));
    assert_eq!(parse(&many), Err(OfferError::TooMany));
    let line = format!("{}a={}\r\n", chromium(), "x".repeat(60_000));
    assert_eq!(
        parse(&line),
        Err(OfferError::Line(chromium().lines().count() + 1))
    );
    // What follows would be a line of its own.
    let half_an_end = chromium() + "a=x\r";
    assert_eq!(
        parse(&half_an_end),
        Err(OfferError::Line(chromium().lines().count() + 1))
    );
    let sections = format!("v=0\r\n{}", "m=a 9 b c\n".repeat(5000));
    assert_eq!(parse(&sections), Err(OfferError::TooMany));
    let some = chromium()
        + &(2..9)
            .map(|mid| video(&mid.to_string()))
            .collect::<String>();
    assert_eq!(parse(&some), Err(OfferError::TooMany));
    assert_eq!(parse(""), Err(OfferError::NotSdp));
}

#[test]
fn ca11_hostile_text_is_refused() {
    let offer = chromium();
    let injected = |text: &str| offer.replacen("s=-\r\n", &format!("s=-\r\n{text}"), 1);
    for (text, error) in [
        (injected("a=x\0y\r\n"), OfferError::Line(4)),
        (injected("a=x\ry\r\n"), OfferError::Line(4)),
        (injected("a=x\r\r\n"), OfferError::Line(4)),
        (
            injected("a=x\u{b}m=application 9 x y\r\n"),
            OfferError::Line(4),
        ),
        (
            injected("a=x\u{85}m=application 9 x y\r\n"),
            OfferError::Line(4),
        ),
        (
            injected("a=x\u{2028}m=application 9 x y\r\n"),
            OfferError::Line(4),
        ),
        (injected("\r\n"), OfferError::Line(4)),
        (injected(" a=x\r\n"), OfferError::Line(4)),
        (injected("M=audio 9 x y\r\n"), OfferError::Line(4)),
        (injected("\u{feff}m=audio 9 x y\r\n"), OfferError::Line(4)),
        (injected("v=0\r\n"), OfferError::Line(4)),
        (
            "v=0\r\nHost: evil.example\r\n\r\nGET / HTTP/1.1\r\n".into(),
            OfferError::Line(2),
        ),
        (format!("\u{feff}{offer}"), OfferError::NotSdp),
        (format!("\r\n{offer}"), OfferError::NotSdp),
        (offer.replacen("v=0", "v=1", 1), OfferError::NotSdp),
        (
            r#"{"type":"offer","sdp":"v=0\r\n"}"#.into(),
            OfferError::NotSdp,
        ),
        ("<html></html>".into(), OfferError::NotSdp),
    ] {
        assert_eq!(parse(&text), Err(error), "{text:?}");
    }
    let mut bytes = offer.into_bytes();
    bytes.extend(b"a=\xff\r\n");
    assert_eq!(Offer::parse(&bytes), Err(OfferError::NotSdp));
}

#[test]
fn ca13_line_feeds_alone_are_accepted_and_kept() {
    let offer = chromium().replace("\r\n", "\n");
    assert_eq!(parse(&offer).unwrap().as_str(), offer);
    let trimmed = offer.trim_end();
    assert_eq!(parse(trimmed).unwrap().as_str(), trimmed);
}

#[test]
fn an_offer_without_what_a_call_needs_is_refused() {
    let whole = chromium();
    for (text, error) in [
        (session("1") + &channel("1"), OfferError::Audio),
        (
            session("0 1") + &audio("0") + &audio("1"),
            OfferError::Audio,
        ),
        (whole.clone() + &channel("2"), OfferError::Channels),
        (whole.replace("m=audio", "m=Audio"), OfferError::Section(1)),
        (
            whole.replace("m=application", "m=message"),
            OfferError::Section(2),
        ),
        (
            whole.replace("m=audio 51603", "m=audio  51603"),
            OfferError::Section(1),
        ),
        (
            whole.replace("m=audio 51603", "m=audio 65536"),
            OfferError::Section(1),
        ),
        (
            whole.replace("m=audio 51603", "m=audio +9"),
            OfferError::Section(1),
        ),
        (
            whole.replace(" webrtc-datachannel", ""),
            OfferError::Section(2),
        ),
        (whole.replace("a=mid:1", "a=mid:0"), OfferError::Mid),
        (whole.replace("a=mid:1", "a=mid:"), OfferError::Mid),
        (whole.replace("a=mid:1", "a=mid:1 2"), OfferError::Mid),
        (
            whole.replace("a=mid:1", "a=mid:1\r\na=mid:2"),
            OfferError::Mid,
        ),
        (
            whole.replace("a=ice-ufrag", "a=x"),
            OfferError::Missing("ice-ufrag"),
        ),
        (
            whole.replace("a=ice-pwd", "a=x"),
            OfferError::Missing("ice-pwd"),
        ),
        (
            whole.replace("a=fingerprint", "a=x"),
            OfferError::Missing("fingerprint"),
        ),
    ] {
        assert_eq!(parse(&text), Err(error), "{text}");
    }
}

#[test]
fn ca14_no_address_of_the_page_is_left_when_candidates_are_removed() {
    let offer = parse(&chromium()).unwrap().without_candidates();
    for hidden in [
        "candidate",
        "192.168.1.7",
        "10.0.0.3",
        "fd00::1",
        ".local",
        "203.0.113.9",
        "5160",
    ] {
        assert!(
            !offer.as_str().contains(hidden),
            "{hidden}: {}",
            offer.as_str()
        );
    }
    let text = offer.as_str();
    assert!(text.contains("\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8\r\nc=IN IP4 0.0.0.0\r\n"));
    assert!(text.starts_with("v=0\r\no=- 3993840254 2 IN IP4 0.0.0.0\r\ns=-\r\n"));
    assert_eq!(parse(text).unwrap(), offer);
    assert_eq!(offer.without_candidates(), offer);
}

#[test]
fn ca15_video_shows() {
    let offer = session("0 1 2") + &audio("0") + &channel("1") + &video("2");
    assert!(parse(&offer).unwrap().has_video());
}

#[test]
fn ca16_a_removed_channel_leaves_the_bundle_and_its_refusal_keeps_its_place() {
    let answer_of = |kind: &str| format!("m={kind} 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:{kind}\r\n");
    let rejected =
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:c\r\n";
    for (sections, bundle, group) in [
        (vec!["audio", "application"], "a c", "a"),
        (vec!["application", "audio"], "c a", "a"),
        (vec!["audio", "application", "video"], "a c v", "a v"),
        (vec!["application", "video", "audio"], "c v a", "v a"),
    ] {
        let written = |kind: &&str| match *kind {
            "audio" => audio("a"),
            "video" => video("v"),
            _ => channel("c"),
        };
        let text = session(bundle) + &sections.iter().map(written).collect::<String>();
        let (offer, channel) = parse(&text).unwrap().without_channel().unwrap();
        let expected: Vec<_> = sections
            .iter()
            .copied()
            .filter(|kind| *kind != "application")
            .collect();
        assert_eq!(kinds(offer.as_str()), expected);
        assert!(
            offer
                .as_str()
                .contains(&format!("\r\na=group:BUNDLE {group}\r\n")),
            "{group}"
        );
        assert_eq!(parse(offer.as_str()).unwrap(), offer);
        let answer = |kind: &&str| match *kind {
            "application" => rejected.to_owned(),
            kind => answer_of(kind),
        };
        let session = "v=0\r\na=group:BUNDLE x\r\n".to_owned();
        let given = session.clone() + &expected.iter().map(answer).collect::<String>();
        let whole = session + &sections.iter().map(answer).collect::<String>();
        assert_eq!(channel.refused_in(&given), Some(whole));
        assert_eq!(channel.refused_in("v=0\r\n"), None);
    }
    assert!(
        parse(&(session("0") + &audio("0")))
            .unwrap()
            .without_channel()
            .is_none()
    );
}

#[test]
fn ca16_the_lines_of_an_answer_end_as_its_own_do() {
    let text = (session("c a") + &channel("c") + &audio("a")).replace("\r\n", "\n");
    let (_, channel) = parse(&text).unwrap().without_channel().unwrap();
    let refused = channel.refused_in("v=0\nm=audio 9 x 0").unwrap();
    let line = "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 0.0.0.0\na=mid:c\n";
    assert_eq!(refused, format!("v=0\n{line}m=audio 9 x 0"));
    let (_, channel) = parse(&chromium()).unwrap().without_channel().unwrap();
    let refused = channel.refused_in("v=0\r\nm=audio 9 x 0").unwrap();
    assert!(refused.starts_with("v=0\r\nm=audio 9 x 0\r\nm=application 0 "));
}

#[test]
fn ca16_audio_that_shared_the_channels_transport_gets_it() {
    let mut shared = audio("a").replace("51603 UDP/TLS", "0 UDP/TLS");
    for line in transport().split_inclusive('\n') {
        shared = shared.replace(line, "");
    }
    let shared = shared.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=bundle-only\r\n");
    let text = session("c a") + &channel("c") + &shared;
    let (offer, _) = parse(&text).unwrap().without_channel().unwrap();
    let section = offer.as_str().split_once("m=audio 9 ").unwrap().1;
    for line in transport().lines() {
        assert_eq!(section.matches(line).count(), 1, "{line}");
    }
    assert!(!section.contains("bundle-only"));
}

/// Pieces of offers, in any order and number.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(audio("0")),
        Just(channel("1")),
        Just(video("2")),
        Just(audio("0").replace("m=audio 51603", "m=audio 0") + "a=bundle-only\r\n"),
        Just("m=audio 9 x y\n".to_owned()),
        Just("m=application 9 x y\na=mid:3".to_owned()),
        Just("a=mid:a=group:BUNDLE\n".to_owned()),
        "[a-z]=[ -~]{0,20}\r?\n?",
        any::<String>(),
    ];
    let mids = prop_oneof![Just("0 1 2"), Just("1 0"), Just("1"), Just("")];
    let lines = prop::collection::vec(piece, 0..6);
    (mids, lines).prop_map(|(mids, lines)| session(mids) + &lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_kept(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(offer) = Offer::parse(&body) {
            prop_assert_eq!(offer.as_str().as_bytes(), body);
        }
    }

    #[test]
    fn what_is_left_of_an_accepted_offer_is_an_acceptable_offer(text in pieces()) {
        let Ok(offer) = parse(&text) else { return Ok(()) };
        prop_assert_eq!(offer.as_str(), &text);
        let bare = offer.without_candidates();
        prop_assert_eq!(parse(bare.as_str()), Ok(bare.clone()));
        prop_assert_eq!(kinds(bare.as_str()), kinds(&text));
        if let Some((locked, channel)) = bare.without_channel() {
            prop_assert_eq!(parse(locked.as_str()), Ok(locked.clone()));
            prop_assert!(!kinds(locked.as_str()).contains(&"application"));
            let whole = channel.refused_in(locked.as_str()).unwrap();
            prop_assert_eq!(kinds(&whole), kinds(&text));
        }
    }

    #[test]
    fn a_damaged_offer_is_refused_or_kept(at in 0_usize..2000, byte in any::<u8>()) {
        let mut body = chromium().into_bytes();
        let at = at % body.len();
        body[at] = byte;
        if let Ok(offer) = Offer::parse(&body) {
            prop_assert_eq!(offer.as_str().as_bytes(), body);
        }
    }
}
