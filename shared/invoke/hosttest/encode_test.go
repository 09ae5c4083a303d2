package hosttest

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
)

func TestWireValues(t *testing.T) {
	t.Parallel()
	at := time.Date(2023, 10, 12, 22, 13, 49, 640002000, time.FixedZone("", 7200))
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"bytes", []byte{0, 1, 2, 3}, `"AAECAw=="`},
		{"DateTime", utc(at), `"2023-10-12T20:13:49"`},
		{"DateTimeOffset", at, `"2023-10-12T20:13:49+00:00"`},
		{"object", object{"a": 1}, `{"a":1}`},
		{"string", "stringTest", `"\"stringTest\""`},
		{"string of JSON", `{"a":"<b>"}`, `"\"{\\\"a\\\":\\\"<b>\\\"}\""`},
		{"int", 1, `"1"`},
		{"bool", true, `"true"`},
		{"array", []int{1, 2}, `"[1,2]"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := encode(wire(tt.in)); got != tt.want {
				t.Errorf("got %s want %s", got, tt.want)
			}
		})
	}
}

func TestAStringBodyOverwritesMetadata(t *testing.T) {
	t.Parallel()
	h := &Host{clock: clockwork.NewFakeClockAt(time.Date(2023, 10, 12, 20, 13, 49, 640002000, time.UTC))}
	meta := object{"DeliveryCount": 7, "SessionId": "mailbox-42", "MessageId": "m"}
	body := `{"DeliveryCount":0,"SessionId":"x","on":true,"none":null,"list":[1],"deep":{"a":[1]},"due":"2023-10-12T20:13:49Z","myTrigger":"y"}`
	for _, tt := range []struct {
		name  string
		value any
		want  object
	}{
		{"string", body, object{
			"DeliveryCount": `"0"`, "SessionId": `"x"`, "MessageId": `"m"`, "on": `"True"`,
			"deep": map[string]any{"a": []any{1.0}}, "due": `"10/12/2023 20:13:49"`,
		}},
		{"binary", []byte(body), object{"DeliveryCount": "7", "SessionId": `"mailbox-42"`, "MessageId": `"m"`}},
		{"string that is no object", `[` + body + `]`, object{"DeliveryCount": "7", "SessionId": `"mailbox-42"`, "MessageId": `"m"`}},
		{"string that only looks like one", body + `}`, object{"DeliveryCount": "7", "SessionId": `"mailbox-42"`, "MessageId": `"m"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := h.newEnvelope(&function{name: "copyshard", trigger: binding{Name: "msg"}}, tt.value, meta)
			var got envelope
			if err := json.Unmarshal([]byte(encode(e)), &got); err != nil {
				t.Fatal(err)
			}
			sys, _ := got.Metadata["sys"].(map[string]any)
			if sys["MethodName"] != "copyshard" || sys["UtcNow"] != "2023-10-12T20:13:49.640002Z" || len(sys["RandGuid"].(string)) != 36 {
				t.Errorf("sys %v", sys)
			}
			delete(got.Metadata, "sys")
			if !reflect.DeepEqual(got.Metadata, tt.want) {
				t.Errorf("got  %v\nwant %v", got.Metadata, tt.want)
			}
		})
	}
}

// The envelope of a message with everything set is the captured one, but for what is made up anew each time and
// what the client does not tell.
func TestTheEnvelopeOfAMessageIsTheCapturedOne(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../testdata/message.json")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2023, 10, 12, 20, 13, 49, 640002000, time.UTC)
	app := map[string]any{"turn": int64(2), "ratio": 0.5, "big": int64(9007199254740993), "on": true, "DeadLetterReason": "MaxDeliveryCountExceeded",
		"DeadLetterErrorDescription": "Message could not be consumed after 10 delivery attempts."}
	m := &azservicebus.ReceivedMessage{
		Body: []byte(`{"v":1}`), MessageID: "plan-42-1", SessionID: ptr("mailbox-42"), CorrelationID: ptr("wave-7"), Subject: ptr("plan"),
		ContentType: ptr("application/json"), ReplyTo: ptr("answers"), ReplyToSessionID: ptr("s"), To: ptr("copy"), PartitionKey: ptr("mailbox-42"),
		DeadLetterSource: ptr("copy"), DeliveryCount: 1, SequenceNumber: ptr(int64(9007199254740993)), EnqueuedTime: &at, ExpiresAt: &at,
		LockToken: uuid.MustParse("4e773554-f6b7-4ea2-b07d-4c5fd5aba741"), ApplicationProperties: app,
	}
	s := &session{}
	s.until.Store(&at)
	l := &listener{name: "ns.servicebus.windows.net", id: "ns.servicebus.windows.net-1"}
	h := &Host{clock: clockwork.NewFakeClockAt(at)}
	e := h.newEnvelope(&function{name: "copyshard", trigger: binding{Name: "msg"}}, m.Body, l.metadata(m, s))
	var got, want struct{ Data, Metadata map[string]json.RawMessage }
	if err := errors.Join(json.Unmarshal([]byte(encode(e)), &got), json.Unmarshal(b, &want)); err != nil {
		t.Fatal(err)
	}
	if string(got.Metadata["SessionActions"]) != `{"SessionLockedUntil":"2023-10-12T20:13:49.640002Z"}` {
		t.Errorf("SessionActions %s", got.Metadata["SessionActions"])
	}
	for _, name := range []string{"sys", "SessionActions", "TransactionPartitionKey"} {
		delete(got.Metadata, name)
		delete(want.Metadata, name)
	}
	for _, pair := range [][2]map[string]json.RawMessage{{got.Data, want.Data}, {got.Metadata, want.Metadata}} {
		for name := range pair[1] {
			if !sameJSON(pair[0][name], pair[1][name]) {
				t.Errorf("%s: %s, want %s", name, pair[0][name], pair[1][name])
			}
		}
		if len(pair[0]) != len(pair[1]) {
			t.Errorf("%d values, want %d", len(pair[0]), len(pair[1]))
		}
	}
}

// sameJSON compares without regard to the order of keys.
func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	const js = "application/json; charset=utf-8"
	tests := []struct{ name, contentType, body, want string }{
		{"empty object", js, `{}`, ""},
		{"outputs in any case", js, `{"outputs":{"res":{}},"logs":["a",1]}`, ""},
		{"text/json", "text/json", `{}`, ""},
		{"empty", js, ``, errNothing.Error()},
		{"empty without type", "", ``, errNothing.Error()},
		{"null", js, ` null `, errNothing.Error()},
		{"sniffed", "text/plain; charset=utf-8", `{}`, "no MediaTypeFormatter"},
		{"no type", "", `{}`, "no MediaTypeFormatter"},
		{"no JSON", js, `ok`, "Invalid HttpResponseMessage"},
		{"array", js, `[]`, "Invalid HttpResponseMessage"},
		{"string", js, `"ok"`, "Invalid HttpResponseMessage"},
		{"logs of the wrong kind", js, `{"Logs":"x"}`, "Invalid HttpResponseMessage"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := readOutcome(tt.contentType, []byte(tt.body))
			if !says(err, tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTraceparent(t *testing.T) {
	t.Parallel()
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if got := traceparent(parent); len(got) != 55 || got[:36] != parent[:36] || got == parent {
		t.Errorf("child of %s is %s", parent, got)
	}
	if a, b := traceparent(""), traceparent("junk"); len(a) != 55 || a[:35] == b[:35] {
		t.Errorf("roots %s and %s", a, b)
	}
}
