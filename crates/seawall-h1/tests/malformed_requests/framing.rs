//! Where a body ends: `Content-Length`, `Transfer-Encoding`, chunks.

use super::*;

#[test]
fn both_framings_are_refused_in_either_order() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "CONTENT-LENGTH: 5\r\ntransfer-encoding: CHUNKED\r\n",
    ] {
        check(post(fields, "0\r\n\r\n"), Err(BothFramings));
    }
    // One that is malformed as well is refused all the same, by the first fault there is.
    check(post("Transfer-Encoding: x\r\nContent-Length: 5\r\n", ""), Err(TransferEncoding));
    check(post("Content-Length: x\r\nTransfer-Encoding: chunked\r\n", ""), Err(ContentLength));
    let old = "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    check(old, Err(BothFramings));
}

#[test]
fn a_content_length_is_one_number_of_plain_digits() {
    for (value, expect) in [
        ("3", Ok("POST / @a \"abc\"")),
        ("003", Ok("POST / @a \"abc\"")),
        (" \t3\t ", Ok("POST / @a \"abc\"")),
        ("3, 3", Ok("POST / @a \"abc\"")),
        ("3,3\t,\t3", Ok("POST / @a \"abc\"")),
        ("03, 3", Ok("POST / @a \"abc\"")),
        ("3, 4", Err(ContentLengthDiffers)),
        ("3, 3, 2", Err(ContentLengthDiffers)),
        ("", Err(ContentLength)),
        (",", Err(ContentLength)),
        ("3,", Err(ContentLength)),
        (",3", Err(ContentLength)),
        ("3,,3", Err(ContentLength)),
        ("3 3", Err(ContentLength)),
        ("3;3", Err(ContentLength)),
        ("+3", Err(ContentLength)),
        ("-3", Err(ContentLength)),
        ("-0", Err(ContentLength)),
        ("0x3", Err(ContentLength)),
        ("3h", Err(ContentLength)),
        ("3.0", Err(ContentLength)),
        ("3e0", Err(ContentLength)),
        ("3_0", Err(ContentLength)),
        ("\"3\"", Err(ContentLength)),
        ("\u{663}", Err(ContentLength)),
        ("9223372036854775808", Err(ContentLength)),
        ("18446744073709551615", Err(ContentLength)),
        ("18446744073709551619", Err(ContentLength)),
        ("99999999999999999999999", Err(ContentLength)),
        ("3\u{b}", Err(FieldValue)),
        ("3\u{c}", Err(FieldValue)),
        ("3\0", Err(FieldValue)),
    ] {
        check(post(&format!("Content-Length:{value}\r\n"), "abc"), expect);
    }
    check(post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), Ok("POST / @a \"abc\""));
    let differing = post("Content-Length: 3\r\nContent-Length: 4\r\n", "abc");
    check(differing, Err(ContentLengthDiffers));
    check(post("Content-Length: 3\r\nContent-Length: \r\n", "abc"), Err(ContentLength));
    // The largest length there is: no overflow, merely never complete.
    check(post("Content-Length: 9223372036854775807\r\n", "abc"), Err(Truncated));
}

#[test]
fn a_transfer_encoding_is_chunked_and_nothing_else() {
    for (value, expect) in [
        (" chunked", Ok("POST / @a \"hi\"")),
        ("chunked", Ok("POST / @a \"hi\"")),
        (" Chunked", Ok("POST / @a \"hi\"")),
        (" CHUNKED\t", Ok("POST / @a \"hi\"")),
        ("\tchunked", Ok("POST / @a \"hi\"")),
        ("", Err(TransferEncoding)),
        (" ", Err(TransferEncoding)),
        (" ,", Err(TransferEncoding)),
        (" identity", Err(TransferEncoding)),
        (" gzip", Err(TransferEncoding)),
        (" xchunked", Err(TransferEncoding)),
        (" chunkedx", Err(TransferEncoding)),
        (" chunke", Err(TransferEncoding)),
        (" x chunked", Err(TransferEncoding)),
        (" chunked chunked", Err(TransferEncoding)),
        (" chunked, chunked", Err(TransferEncoding)),
        (" chunked, identity", Err(TransferEncoding)),
        (" chunked, gzip", Err(TransferEncoding)),
        (" chunked,", Err(TransferEncoding)),
        (" ,chunked", Err(TransferEncoding)),
        (" chunked;q=1", Err(TransferEncoding)),
        (" chunked; ", Err(TransferEncoding)),
        (" \"chunked\"", Err(TransferEncoding)),
        (" 'chunked'", Err(TransferEncoding)),
        (" [chunked]", Err(TransferEncoding)),
        (" chun\u{212a}ed", Err(TransferEncoding)),
        (" chunked\u{a0}", Err(TransferEncoding)),
        (" \u{85}chunked", Err(TransferEncoding)),
        (" \u{b}chunked", Err(FieldValue)),
        (" \u{c}chunked", Err(FieldValue)),
        ("\u{b}chunked", Err(FieldValue)),
        (" chunked\u{b}", Err(FieldValue)),
        (" chunked\0", Err(FieldValue)),
        (" chunked\u{7f}", Err(FieldValue)),
        (" \rchunked", Err(BareCr)),
        (" chunked\r", Err(BareCr)),
        (" \nchunked", Err(BareLf)),
        // Honest requests for a coding that is not spoken here.
        (" gzip, chunked", Err(CodingUnknown)),
        (" identity, chunked", Err(CodingUnknown)),
    ] {
        let input = post(&format!("Transfer-Encoding:{value}\r\n"), "2\r\nhi\r\n0\r\n\r\n");
        // `\nchunked` is a line that is no field as soon as it is looked at, and a line that ends
        // in a bare LF before.
        let class_only = expect == Err(BareLf);
        if class_only { check_class(input, Err(FieldName)) } else { check(input, expect) }
    }
}

#[test]
fn transfer_encoding_is_found_where_others_would_find_it() {
    let body = "2\r\nhi\r\n0\r\n\r\n";
    for (fields, expect) in [
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-encoding: identity\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", TransferEncoding),
        ("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", TransferEncoding),
        ("Transfer-Encoding : chunked\r\n", SpaceBeforeColon),
        ("Transfer-Encoding\t: chunked\r\n", SpaceBeforeColon),
        ("Transfer-Encoding:\r\n chunked\r\n", Folded),
        ("Transfer-Encoding: chunked\r\n , identity\r\n", Folded),
        (" Transfer-Encoding: chunked\r\n", Folded),
        ("\tTransfer-Encoding: chunked\r\n", Folded),
        ("X: y\r Transfer-Encoding: chunked\r\n", BareCr),
        ("X: y\rTransfer-Encoding: chunked\r\n", BareCr),
        ("X: y\nTransfer-Encoding: chunked\r\n", BareLf),
        ("X:\nTransfer-Encoding: chunked\r\n", BareLf),
        ("X:\rTransfer-Encoding: chunked\r\n", BareCr),
        ("X\r\nTransfer-Encoding: chunked\r\n", FieldName),
        ("X\nTransfer-Encoding: chunked\r\n", FieldName),
        ("\u{b}Transfer-Encoding: chunked\r\n", FieldName),
        ("\0Transfer-Encoding: chunked\r\n", FieldName),
        ("Transfer-Encoding\0: chunked\r\n", FieldName),
        ("Transfer-Encoding\u{b}: chunked\r\n", FieldName),
        ("Transfer Encoding: chunked\r\n", FieldName),
        ("Transfer-Encoding;: chunked\r\n", FieldName),
        ("\"Transfer-Encoding\": chunked\r\n", FieldName),
    ] {
        check_class(post(fields, body), Err(expect));
    }
    // HTTP/1.0 knows no codings: a server that ignores the field would take the body for a request.
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    check(old, Err(TransferEncoding));
    // Other names are other fields; that they are no framing is the point.
    for name in ["Transfer_Encoding", "Transfer-Encodin", "TransferEncoding", "X-Transfer-Encoding"]
    {
        check(post(&format!("{name}: chunked\r\n"), ""), Ok("POST / @a"));
    }
}

#[test]
fn chunks_are_read_strictly() {
    for (body, expect) in [
        ("2\r\nhi\r\n0\r\n\r\n", Ok("POST / @a \"hi\"")),
        ("2\r\nhi\r\n0\r\n\r\nGET", Ok("POST / @a \"hi\" +3")),
        ("2;x=y\r\nhi\r\n0;z\r\n\r\n", Ok("POST / @a \"hi\"")),
        ("2 \t;x\r\nhi\r\n0\r\n\r\n", Ok("POST / @a \"hi\"")),
        ("2;x=\"\u{e9};\"\r\nhi\r\n0\r\n\r\n", Ok("POST / @a \"hi\"")),
        ("0000000000000002\r\nhi\r\n00\r\n\r\n", Ok("POST / @a \"hi\"")),
        (
            "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
            Ok("POST / @a \"01234567890123456789\""),
        ),
        ("0\r\nX-Sum: 1\r\nY:2\r\n\r\n", Ok("POST / @a \"\" [X-Sum=1] [Y=2]")),
        (
            "0\r\nHost: b\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
            Ok("POST / @a \"\""),
        ),
        (
            "0\r\nConnection: close\r\nX-Forwarded-For: 1.2.3.4\r\nVia: x\r\n\r\n",
            Ok("POST / @a \"\""),
        ),
        ("", Err(Truncated)),
        ("2\r\nhi\r\n0\r\n", Err(Truncated)),
        ("2\r\nhi\r\n0\r\nX: y\r\n", Err(Truncated)),
        ("7fffffffffffffff\r\nhi", Err(Truncated)),
        ("\r\n", Err(ChunkSize)),
        (" 2\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("+2\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("-2\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("0x2\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("2h\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("2 \r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("2 2\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("2,\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("2_0\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("g\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("\0\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("2\0\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("\u{ff12}\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("8000000000000000\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("10000000000000002\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("00000000000000002\r\nhi\r\n0\r\n\r\n", Err(ChunkSize)),
        ("2\nhi\r\n0\r\n\r\n", Err(BareLf)),
        ("2;\nhi\r\n0\r\n\r\n", Err(BareLf)),
        ("2\rhi\r\n0\r\n\r\n", Err(BareCr)),
        ("2\r\r\nhi\r\n0\r\n\r\n", Err(BareCr)),
        ("2;x\ry\r\nhi\r\n0\r\n\r\n", Err(BareCr)),
        ("2;x\0\r\nhi\r\n0\r\n\r\n", Err(ChunkExtension)),
        ("2;x\u{7f}\r\nhi\r\n0\r\n\r\n", Err(ChunkExtension)),
        ("2\r\nhi0\r\n\r\n", Err(ChunkEnd)),
        ("2\r\nhi\n0\r\n\r\n", Err(ChunkEnd)),
        ("2\r\nhi\r0\r\n\r\n", Err(ChunkEnd)),
        ("2\r\nhello\r\n0\r\n\r\n", Err(ChunkEnd)),
        ("2\r\nhi\r\n\r\n0\r\n\r\n", Err(ChunkSize)),
        ("0\r\n\n", Err(BareLf)),
        ("0\n\r\n", Err(BareLf)),
        ("0\r\nX: y\n\r\n", Err(BareLf)),
        ("0\r\nX: y\n\n", Err(BareLf)),
        ("0\r\nX: y\r\n\n", Err(BareLf)),
        ("0\r\nX: a\rb\r\n\r\n", Err(Trailer)),
        ("0\r\n\rX: b\r\n\r\n", Err(Trailer)),
        ("0\r\nX : y\r\n\r\n", Err(Trailer)),
        ("0\r\nX: y\r\n z\r\n\r\n", Err(Trailer)),
        ("0\r\n X: y\r\n\r\n", Err(Trailer)),
        ("0\r\n: y\r\n\r\n", Err(Trailer)),
        ("0\r\nX\r\n\r\n", Err(Trailer)),
        ("0\r\nX: \0\r\n\r\n", Err(Trailer)),
    ] {
        check(post("Transfer-Encoding: chunked\r\n", body), expect);
    }
}
