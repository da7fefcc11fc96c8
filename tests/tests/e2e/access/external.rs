//! Tokens of somebody else, signed with a key that was made for these tests alone; and the public half of that key.

use serde_json::{Value, json};

/// The key's modulus.
pub const MODULUS: &str = "4AsJPtrq0r2GOzT__CPd_RHplNNJzbO3QMSOjUFvVmTzRFCagY6rZ_laKSyxDybD1x7bsa6FAG8rpJY8O0CJ-Z5B5TbCl6tgmWKORs9L8iMblGVaoN3Te_pG7nmLSFFLesS9ZJqZSDkaAsFmvHKHmLT-n735YbIn6IFMTOrnobH83ogfR7G-o3-BpF9NzIo3cIM1wF33jRGu9XyCJ3kd4O5niTcJZAyGe2NQ-DfT2W_YWxg8tVPNt_uctYzUshef0qxiAfcQTAWecHYr8JOzSnM_OqMMR9HRPFlBn6PQdXSM12Xuf7bHzMt3ipmzC1J05ZiXnvlxNht4Z1uU53ykSQ";
/// For `ann`, at `rover.example`, until 2100.
pub const GOOD: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InRlc3QiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJhdWQiOiJyb3Zlci5leGFtcGxlIiwicnBjX2NyZWRzX3R5cGUiOiJleHRlcm5hbCIsImV4cCI6NDEwMjQ0NDgwMH0.HbkDhjzjiTPF9Ur7hs3KLpkGsxhNH-Yrs5Yx0NcnvWlJHi8Q12v9aLBjyMiZulFic-EscvJoXDJ5Aqx4VKhdTrarU99mLF24URacSViZMLN6k2DsdtQHxNUJkM4QKg-8Mk7OaLpkLD8GMUvvZS0gHxRZSAXmelkuGrkY82J4Isj0l8NspFwsjJAzTQNTlf2EusPz2P6KXonPd0pLSZfe8aS2OhkY252QSo5TEuvf6_3G7ouFT_VqxwDTYMaz984aIvym4LI0WOP51lqp_lDyY3rOxh64Lx22L8dc9kGbvXtVAuKVVCZjUvJXmnBN7x6xIJ4NVA-K1BOrpXNzp8MZmA";
/// The same, until 1970.
pub const EXPIRED: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InRlc3QiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJhdWQiOiJyb3Zlci5leGFtcGxlIiwicnBjX2NyZWRzX3R5cGUiOiJleHRlcm5hbCIsImV4cCI6MX0.VdRw_0dOpAJ0wkK2BqRlSCjU4GHf2VwHfTHX98Ixf0RnPFh3O-oyyX3M8534D-feGMgEiVB4f3PeR8jRYTTtTl3tOZWnBULHQluFoCB5x5xPggpUjelriKlFF3TodQJE0q1rJRwt_27nxzuOmtIWvy8zlq0chtP5YoDMp3WsOeNPGeJfDxO9HKrsrwpYLl_gpmvU5bg8rH2YtSVjm55BYChCahbe1ReRccdFGDsiwT7niXmJUJ1G0Ppe2QL9oqbgGw4iHpUtoaNf6KuPpkIJp2xJ8UvgACDKTFel1HO9pDjAqhLvNcOJGcllFwNaB7ATL8LQYvEZgAsMqOs2WD47Vg";
/// For `ann`, at `other.example`, until 2100.
pub const ELSEWHERE: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InRlc3QiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJhdWQiOiJvdGhlci5leGFtcGxlIiwicnBjX2NyZWRzX3R5cGUiOiJleHRlcm5hbCIsImV4cCI6NDEwMjQ0NDgwMH0.udSGtcEmpam8PrQ02fORGzveQhIZtEB2Lg7uMh28MB_MW-c_aF528ICt62nMf_qNw6izxWGOVxLByPz_9tiTZXCM4WyHcJ6Q0PBJNBOdxLu40q6dawpBaxWW0OIbanYQo6c3ZFV5m-SJy2K2wKLzlFOILlgm6mYRv9A7NuPcI3c1tE3sc3ut9HDnJ4XyCpvRXJ_xDXK36rljLCq-yl-2LJ-3tCh9JBahyHip07NoNYwnwSX0FmS3rYDn1393sSOZT9mIqGf7WiTV4S8dfaJ4ols57_hNpcMAmq5EBVTYtYYxPQr2q8tpxcXLl46_e-xB2URxuAGJzNEvso_2JRFZOA";

/// The key as `auth.external_auth_config` has it.
pub fn config() -> Value {
    json!({ "jwks": { "keys": [{ "alg": "RS256", "kty": "RSA", "kid": "test", "n": MODULUS, "e": "AQAB" }] } })
}
