"""JSON to messages."""

import base64

import pytest

from kvstore.proto import rpc_pb2
from kvstore.server.gateway.json_in import first_document
from kvstore.server.status import Code, StatusError
from tests.support.extremes import nested_txn_json


def request(text: str | bytes) -> rpc_pb2.RangeRequest:
    body = text.encode() if isinstance(text, str) else text
    return first_document(rpc_pb2.RangeRequest, body)


def refusal(text: str | bytes, kind: type = rpc_pb2.RangeRequest) -> str:
    body = text.encode() if isinstance(text, str) else text
    with pytest.raises(StatusError) as caught:
        first_document(kind, body)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


class TestValues:
    @pytest.mark.parametrize("text", ['{"range_end":"Yg=="}', '{"rangeEnd":"Yg=="}'])
    def test_a_field_has_two_names(self, text: str) -> None:
        assert request(text).range_end == b"b"

    @pytest.mark.parametrize("number", ["7", '"7"', "7.0", "70e-1", '"0.7e1"'])
    def test_a_number_has_many_spellings(self, number: str) -> None:
        assert request(f'{{"limit":{number}}}').limit == 7

    @pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
    def test_all_bits_of_a_number_count(self, number: int) -> None:
        assert request(f'{{"revision":"{number}"}}').revision == number
        assert request(f'{{"revision":{number}}}').revision == number

    @pytest.mark.parametrize(
        "number",
        ["1.5", '"x"', '""', '" 1"', '"+1"', '"1_0"', "9223372036854775808", "1e999", "true", "[]"],
    )
    def test_what_is_no_number_is_refused(self, number: str) -> None:
        assert refusal(f'{{"limit":{number}}}').startswith(
            "proto: invalid value for int64 field limit: "
        )

    @pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", b"\xfb\xff\xfe"])
    def test_bytes_are_base64_of_either_alphabet_padded_or_not(self, data: bytes) -> None:
        for encoded in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
            for text in (encoded.decode(), encoded.decode().rstrip("=")):
                assert request(f'{{"key":"{text}"}}').key == data

    @pytest.mark.parametrize("text", ['"!!"', '"YQ="', '"Y Q="', '"+_AA"', "1", "{}"])
    def test_what_is_no_base64_is_refused(self, text: str) -> None:
        assert refusal(f'{{"key":{text}}}').startswith("proto: invalid value for bytes field key: ")

    @pytest.mark.parametrize("value", ['"DESCEND"', "2", "2.0"])
    def test_an_enum_is_a_name_or_a_number(self, value: str) -> None:
        assert request(f'{{"sort_order":{value}}}').sort_order == rpc_pb2.RangeRequest.DESCEND

    def test_an_unknown_name_of_an_enum_is_left_out_and_an_unknown_number_is_not(self) -> None:
        assert request('{"sort_order":"NOPE"}').sort_order == 0
        assert request('{"sort_order":77}').sort_order == 77

    @pytest.mark.parametrize("value", ['"true"', "1"])
    def test_only_true_and_false_are_booleans(self, value: str) -> None:
        message = refusal(f'{{"keys_only":{value}}}')
        assert message == f"proto: invalid value for bool field keysOnly: {value}"

    def test_null_is_nothing(self) -> None:
        assert request('{"key":null,"limit":null}') == rpc_pb2.RangeRequest()

    def test_unknown_fields_are_ignored(self) -> None:
        assert request('{"nope":[1,{"a":2}],"limit":"1"}').limit == 1

    def test_an_empty_message_is_there(self) -> None:
        watch = first_document(rpc_pb2.WatchRequest, b'{"progress_request":{}}')
        assert watch.WhichOneof("request_union") == "progress_request"

    def test_messages_are_nested(self) -> None:
        body = b'{"success":[{"requestTxn":{"success":[{"request_put":{"key":"YQ=="}}]}}]}'
        txn = first_document(rpc_pb2.TxnRequest, body)
        assert txn.success[0].request_txn.success[0].request_put.key == b"a"


class TestDocuments:
    @pytest.mark.parametrize("body", [b"", b" \n"])
    def test_no_document_is_an_empty_message(self, body: bytes) -> None:
        assert request(body) == rpc_pb2.RangeRequest()

    @pytest.mark.parametrize("rest", ["x", '{"limit":2}', "\n"])
    def test_only_the_first_is_read(self, rest: str) -> None:
        assert request(' {"limit":1}' + rest).limit == 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"key"', "unexpected EOF"),
            ('{"key":', "unexpected EOF"),
            ('{"key":"Y', "unexpected EOF"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ('{"key":"YQ==",}', "invalid character '}' looking for beginning of object key string"),
            ('{"key":1, }', "invalid character '}' looking for beginning of object key string"),
            ('{"key":[1 , ]}', "invalid character ']' looking for beginning of value"),
            ('{"key" 1}', "invalid character '1' after object key"),
            ('{"key":1 2}', "invalid character '2' after object key:value pair"),
            ("[]", "proto: syntax error: unexpected token ["),
            ('"x"', 'proto: syntax error: unexpected token "x"'),
            ("null", "proto: syntax error: unexpected token null"),
            ('{"key":"YQ==","key":"Yg=="}', 'proto: duplicate field "key"'),
            ('{"range_end":"YQ==","rangeEnd":""}', 'proto: duplicate field "rangeEnd"'),
        ],
    )
    def test_what_is_wrong_is_said_as_go_says_it(self, text: str, message: str) -> None:
        assert refusal(text) == message

    def test_two_members_of_a_union_are_refused(self) -> None:
        body = '{"compare":[{"version":"0","mod_revision":"3"}]}'
        assert refusal(body, rpc_pb2.TxnRequest) == (
            'proto: error parsing "mod_revision", '
            "oneof etcdserverpb.Compare.target_union is already set"
        )

    @pytest.mark.parametrize(
        "body",
        [
            b"[" * 100_000,
            b'{"success":[{"request_txn":' * 50_000,
            b'{"limit":NaN}',
            b'{"limit":1e99999999999999999999}',
            b'{"limit":' + b"9" * 100_000 + b"}",
            b'{"key":"\xff\xfe"}',
            b'\xff{"key":"YQ=="}',
        ],
    )
    def test_hostile_documents_are_refused(self, body: bytes) -> None:
        assert refusal(body)

    def test_deep_nesting_is_refused(self) -> None:
        depth = 5000
        body = '{"success":[{"request_txn":' * depth + "{}" + "}]}" * depth
        assert refusal(body, rpc_pb2.TxnRequest)

    def test_strings_are_unicode(self) -> None:
        kind = rpc_pb2.AuthenticateRequest
        assert first_document(kind, '{"name":"ä\\u2028"}'.encode()).name == "ä\u2028"
        assert "invalid escape code" in refusal('{"name":"\\ud800"}', kind)

    @pytest.mark.parametrize(
        "body",
        [
            b'{"sort_order":"ASC\xff"}',
            b'{"k\xffey":"YQ=="}',
            b'{"nope":["\xff"]}',
            b'{"key":"YQ\xc3"}',
            b'{"sort_order":"\\udc80"}',
            b'{"nope":{"\\ud800":1}}',
        ],
    )
    def test_all_strings_are_unicode_whoever_asks_for_them(self, body: bytes) -> None:
        assert refusal(body).startswith("proto: syntax error: invalid ")


class TestSyntax:
    """Go's words for what is no JSON (the same as from a real etcd: test_random_requests.py)."""

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"limit":1e}', "invalid character '}' in exponent of numeric literal"),
            ('{"limit":-}', "invalid character '}' in numeric literal"),
            ('{"limit":1.x}', "invalid character 'x' after decimal point in numeric literal"),
            ('{"limit":NaN}', "invalid character 'N' looking for beginning of value"),
            ('{"limit":-Infinity}', "invalid character 'I' in numeric literal"),
            ('{"limit":tru}', "invalid character '}' in literal true (expecting 'e')"),
            ('{"limit":nul', "unexpected EOF"),
            ('{"key":"\\q"}', "invalid character 'q' in string escape code"),
            ('{"key":"\\u12g"}', "invalid character 'g' in \\u hexadecimal character escape"),
            ('{"key":"a\n"}', "invalid character '\\n' in string literal"),
            ('{"key":[1 2]}', "invalid character '2' after array element"),
            ('{"key":\u00ed}', "invalid character '\u00c3' looking for beginning of value"),
            ('{"key":\x00}', "invalid character '\\x00' looking for beginning of value"),
            ('{"limit":undefined}', "invalid character 'u' looking for beginning of value"),
        ],
    )
    def test_what_is_wrong_and_where(self, text: str, message: str) -> None:
        assert refusal(text) == message

    def test_bytes_that_are_no_unicode_are_refused_wherever_they_are(self) -> None:
        message = "proto: syntax error: invalid UTF-8 in string"
        assert refusal(b'{"limit":1,"x\xff":2}') == message
        assert refusal(b'{"nope":["\xff"]}') == message
        assert request(b'{"limit":1}\xff').limit == 1

    @pytest.mark.parametrize("depth", [400, 3333])
    def test_a_transaction_that_is_too_deep_has_too_many_operations(self, depth: int) -> None:
        message = "etcdserver: too many operations in txn request"
        assert refusal(nested_txn_json(depth), rpc_pb2.TxnRequest) == message

    def test_brackets_have_a_bound(self) -> None:
        deep = "invalid character '[' exceeded max depth"
        assert refusal(nested_txn_json(3334), rpc_pb2.TxnRequest) == deep
        assert refusal('{"nope":' + "[" * 10_000 + "]" * 10_000 + "}") == deep
