//! Kubeconfig files, written as JSON, which is YAML.

use serde_json::json;

use crate::error::Error;

/// How to reach an API server and know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https://127.0.0.1:PORT`
    pub(crate) url: String,
    /// Base64 of the PEM of the CA; empty where the system's CAs do.
    pub(crate) ca_data: String,
}

/// A kubeconfig with one user, who shows `token`.
pub(crate) fn render(endpoint: &Endpoint, user: &str, token: &str) -> String {
    let mut cluster = json!({ "server": endpoint.url });
    if !endpoint.ca_data.is_empty() {
        cluster["certificate-authority-data"] = json!(endpoint.ca_data);
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "tenantry", "cluster": cluster }],
        "users": [{ "name": user, "user": { "token": token } }],
        "contexts": [{ "name": "tenantry", "context": { "cluster": "tenantry", "user": user } }],
        "current-context": "tenantry",
    });
    format!("{config:#}\n")
}

/// Endpoint and token (if it is one) of a minified, flattened kubeconfig in JSON.
pub(crate) fn parse(json: &str) -> Result<(Endpoint, Option<String>), Error> {
    let malformed = |why: String| Error::Malformed {
        what: "the kubeconfig".into(),
        why,
    };
    let config: serde_json::Value = serde_json::from_str(json).map_err(|e| malformed(e.to_string()))?;
    let cluster = &config["clusters"][0]["cluster"];
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let url = text(&cluster["server"]).ok_or_else(|| malformed("its current context has no server".into()))?;
    let ca_data = text(&cluster["certificate-authority-data"]).unwrap_or_default();
    Ok((Endpoint { url, ca_data }, text(&config["users"][0]["user"]["token"])))
}

/// The last certificate of a PEM file. The API server's self-made file holds its own certificate, then the CA that
/// signed it; only the CA is a trust anchor.
pub(crate) fn last_certificate(pem: &str) -> Result<&str, Error> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let malformed = || Error::Malformed {
        what: "the API server's certificate".into(),
        why: "no whole PEM block".into(),
    };
    let last = &pem[pem.rfind(BEGIN).ok_or_else(malformed)?..];
    let end = last.find(END).ok_or_else(malformed)?;
    Ok(&last[..end + END.len()])
}

/// Standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .enumerate()
            .fold(0u32, |w, (i, b)| w | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_vectors_of_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn kubeconfig_has_server_ca_and_token_and_verifies_tls() {
        let endpoint = Endpoint {
            url: "https://127.0.0.1:12345".into(),
            ca_data: "Q0E=".into(),
        };
        let text = render(&endpoint, "o\"wner", "secret");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["clusters"][0]["cluster"]["server"], "https://127.0.0.1:12345");
        assert_eq!(value["clusters"][0]["cluster"]["certificate-authority-data"], "Q0E=");
        assert_eq!(value["users"][0]["name"], "o\"wner");
        assert_eq!(value["contexts"][0]["context"]["user"], "o\"wner");
        assert_eq!(value["users"][0]["user"]["token"], "secret");
        assert!(!text.contains("insecure"));
    }

    #[test]
    fn what_is_rendered_is_parsed() {
        let endpoint = Endpoint {
            url: "https://127.0.0.1:1".into(),
            ca_data: "Q0E=".into(),
        };
        assert_eq!(
            parse(&render(&endpoint, "a", "t")).unwrap(),
            (endpoint, Some("t".into()))
        );
    }

    #[test]
    fn a_kubeconfig_without_a_server_is_an_error() {
        assert!(matches!(parse("{}"), Err(Error::Malformed { .. })));
    }

    #[test]
    fn the_last_certificate_is_the_ca() {
        let block = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----");
        let pem = format!("{}\n{}\n", block("leaf"), block("ca"));
        assert_eq!(last_certificate(&pem).unwrap(), block("ca"));
    }

    #[test]
    fn a_half_written_certificate_is_an_error() {
        assert!(matches!(
            last_certificate("-----BEGIN CERTIFICATE-----\nMII"),
            Err(Error::Malformed { .. })
        ));
    }
}
