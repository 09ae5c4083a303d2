package servicebustest

import (
	"fmt"
	"time"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/broker"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

const (
	operationPrefix = "com.microsoft:"
	trackingID      = "com.microsoft:tracking-id"
	peekBytes       = 4 << 20 // most that one peek answers
	peekMessages    = 1000
	sessionsListed  = 100
)

// request makes the answer to a message to a request node, for the link that its reply-to names. It is sent when
// the request has been settled, as clients expect.
func (l *link) request(m *wire.Message) *broker.Error {
	to := l.replyLink(m.Properties.ReplyTo)
	if to == nil {
		return &broker.Error{Condition: broker.NotFound, Text: "No receiver is attached for the reply-to address."}
	}
	answer := l.answer(m)
	to.answers = append(to.answers, answer.AppendBare(nil))
	return nil
}

// replyLink finds the receiver of the node whose target address is the reply-to; a client may use the link's name
// for it too. Clients of the C library name none: then it is the one in the session of the request.
func (l *link) replyLink(replyTo string) *link {
	for _, r := range l.conn().replies {
		named := r.a.Target.Address() == replyTo || r.a.Name == replyTo
		if r.node == l.node && (named || replyTo == "" && r.s == l.s) {
			return r
		}
	}
	return nil
}

// sendAnswers sends what the receiver's credit allows.
func (l *link) sendAnswers() {
	for len(l.answers) > 0 && int32(l.answerLimit-l.answerCount) > 0 {
		l.answerCount++
		tag := []byte{byte(l.answerCount >> 24), byte(l.answerCount >> 16), byte(l.answerCount >> 8), byte(l.answerCount)}
		l.s.enqueue(&outgoing{l: l, tag: tag, settled: true, payload: l.answers[0]})
		l.answers = l.answers[1:]
	}
}

func (l *link) answer(m *wire.Message) *wire.Message {
	id := m.Properties.MessageID
	if l.node.cbs {
		status, text := l.conn().putToken(m)
		return wire.MessageOf(id, wire.Map{{Key: "status-code", Value: status}, {Key: "status-description", Value: text}}, nil)
	}
	r := &managed{server: l.conn().s, entity: l.node.entity, app: m.ApplicationProperties()}
	body, err := r.run(m)
	status, text := int32(200), "OK"
	switch {
	case err != nil:
		status, text, body = statusOf(err.Condition), err.Text, nil
	case body == nil:
		status, text = 204, "No content"
	}
	app := wire.Map{{Key: "statusCode", Value: status}, {Key: "statusDescription", Value: text}}
	if err != nil {
		app = append(app, wire.Pair{Key: "errorCondition", Value: wire.Symbol(err.Condition)})
	}
	if id := r.app.Find(trackingID); id != nil {
		app = append(app, wire.Pair{Key: trackingID, Value: id})
	}
	return wire.MessageOf(id, app, body)
}

// statusOf is the HTTP status that goes with a condition.
func statusOf(condition string) int32 {
	switch condition {
	case broker.NotFound, broker.MessageNotFound:
		return 404
	case broker.MessageLockLost, broker.SessionLockLost, broker.SessionNotLocked:
		return 410
	case broker.Unauthorized:
		return 401
	case broker.SizeExceeded, broker.QuotaExceeded:
		return 403
	case broker.ServerBusy:
		return 503
	case broker.Timeout:
		return 408
	case broker.NotImplemented:
		return 501
	}
	return 400
}

// managed is one request to a management node.
type managed struct {
	server *Server
	entity *broker.Entity
	app    wire.Map // application properties
	body   wire.Map
	err    *broker.Error // the first argument that was wrong
}

// run carries out the operation. It returns the answer's body, nil when there is nothing to say.
func (r *managed) run(m *wire.Message) (any, *broker.Error) {
	name, _ := r.app.Find("operation").(string)
	value, err := m.Value()
	if err != nil {
		return nil, bad(err.Error())
	}
	r.body, _ = value.(wire.Map)
	if err := r.server.isBusy(Operation{Kind: Manage, Queue: r.entity.Queue().Name, Request: name}); err != nil {
		return nil, err
	}
	do := r.operation(name)
	if do == nil {
		return nil, &broker.Error{Condition: broker.NotImplemented, Text: fmt.Sprintf("The operation '%s' is not implemented.", name)}
	}
	return do()
}

func (r *managed) operation(name string) func() (any, *broker.Error) {
	switch name {
	case operationPrefix + "renew-lock":
		return r.renewLock
	case operationPrefix + "peek-message":
		return r.peek
	case operationPrefix + "schedule-message":
		return r.schedule
	case operationPrefix + "cancel-scheduled-message":
		return r.cancel
	case operationPrefix + "receive-by-sequence-number":
		return r.receive
	case operationPrefix + "update-disposition":
		return r.dispose
	case operationPrefix + "renew-session-lock":
		return r.renewSession
	case operationPrefix + "get-session-state":
		return r.sessionState
	case operationPrefix + "set-session-state":
		return r.setSessionState
	case operationPrefix + "get-message-sessions":
		return r.sessions
	}
	return nil
}

func bad(text string) *broker.Error {
	return &broker.Error{Condition: broker.ArgumentError, Text: text}
}

// done is the body of an answer that says nothing but that it worked.
func done() wire.Map { return wire.Map{} }

func (r *managed) renewLock() (any, *broker.Error) {
	tokens := r.tokens()
	if r.err != nil {
		return nil, r.err
	}
	until, err := r.entity.Renew(tokens)
	if err != nil {
		return nil, err
	}
	out := wire.Array{Code: wire.ArrayOfTimestamp}
	for _, t := range until {
		out.Items = append(out.Items, timestamp(t))
	}
	return wire.Map{{Key: "expirations", Value: out}}, nil
}

func (r *managed) peek() (any, *broker.Error) {
	from, n := r.number("from-sequence-number"), r.number("message-count")
	if r.err == nil && n < 1 {
		r.err = bad("message-count is less than 1.")
	}
	if r.err != nil {
		return nil, r.err
	}
	var session *string
	if id, ok := r.body.Find("session-id").(string); ok {
		session = &id
	}
	list, noBody := []any{}, r.body.Find("omit-message-body") == true
	for _, d := range r.entity.Peek(from, int(min(n, peekMessages)), peekBytes, session) {
		e := envelope(d)
		e.NoBody = noBody
		list = append(list, wire.Map{{Key: "message", Value: d.Message.Append(nil, e)}})
	}
	if len(list) == 0 {
		return nil, nil
	}
	return wire.Map{{Key: "messages", Value: list}}, nil
}

func (r *managed) schedule() (any, *broker.Error) {
	var ms []*wire.Message
	for i, v := range r.list("messages") {
		one, _ := v.(wire.Map)
		raw, ok := one.Find("message").([]byte)
		if !ok {
			return nil, bad(fmt.Sprintf("messages[%d].message is not binary.", i))
		}
		m, err := wire.ParseMessage(raw)
		if err != nil {
			return nil, bad(fmt.Sprintf("messages[%d]: %v", i, err))
		}
		ms = append(ms, m)
	}
	if r.err == nil && len(ms) == 0 {
		r.err = bad("messages is empty.")
	}
	if r.err != nil {
		return nil, r.err
	}
	seqs, err := r.entity.Queue().Schedule(ms)
	if err != nil {
		return nil, err
	}
	return wire.Map{{Key: "sequence-numbers", Value: longs(seqs)}}, nil
}

func longs(ns []int64) wire.Array {
	out := wire.Array{Code: wire.ArrayOfLong}
	for _, n := range ns {
		out.Items = append(out.Items, n)
	}
	return out
}

func (r *managed) cancel() (any, *broker.Error) {
	seqs := r.numbers("sequence-numbers")
	if r.err != nil {
		return nil, r.err
	}
	return done(), r.entity.Queue().Cancel(seqs)
}

func (r *managed) receive() (any, *broker.Error) {
	seqs, mode := r.numbers("sequence-numbers"), r.number("receiver-settle-mode")
	if r.err != nil {
		return nil, r.err
	}
	got, err := r.entity.ReceiveDeferred(seqs, r.link(), mode == 0)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, d := range got {
		e, one := envelope(d), wire.Map{}
		if mode != 0 {
			e.Delivery = wire.Map{{Key: wire.Symbol(annLockToken), Value: wire.UUID(d.Token)}}
			one = wire.Map{{Key: "lock-token", Value: wire.UUID(d.Token)}}
		}
		list = append(list, append(one, wire.Pair{Key: "message", Value: d.Message.Append(nil, e)}))
	}
	return wire.Map{{Key: "messages", Value: list}}, nil
}

func (r *managed) dispose() (any, *broker.Error) {
	tokens, status := r.tokens(), r.text("disposition-status")
	o := broker.Outcome{}
	switch status {
	case "completed":
		o.Verb = broker.Complete
	case "abandoned":
		o.Verb = broker.Abandon
	case "suspended":
		o.Verb = broker.DeadLetter
	case "defered", "deferred":
		o.Verb = broker.Defer
	default:
		return nil, bad("disposition-status is not known.")
	}
	o.Properties, _ = r.body.Find("properties-to-modify").(wire.Map)
	o.Reason, _ = r.body.Find("deadletter-reason").(string)
	o.Description, _ = r.body.Find("deadletter-description").(string)
	if r.err != nil {
		return nil, r.err
	}
	return done(), r.entity.SettleAll(tokens, o)
}

func (r *managed) renewSession() (any, *broker.Error) {
	id := r.text("session-id")
	if r.err != nil {
		return nil, r.err
	}
	until, err := r.entity.RenewSession(id, r.link())
	return wire.Map{{Key: "expiration", Value: timestamp(until)}}, err
}

func (r *managed) sessionState() (any, *broker.Error) {
	id := r.text("session-id")
	if r.err != nil {
		return nil, r.err
	}
	state, err := r.entity.SessionState(id, r.link())
	var v any
	if state != nil {
		v = state
	}
	return wire.Map{{Key: "session-state", Value: v}}, err
}

func (r *managed) setSessionState() (any, *broker.Error) {
	id := r.text("session-id")
	state, ok := r.body.Find("session-state").([]byte)
	if !ok && r.body.Find("session-state") != nil {
		return nil, bad("session-state is not binary.")
	}
	if r.err != nil {
		return nil, r.err
	}
	return done(), r.entity.SetSessionState(id, r.link(), state)
}

func (r *managed) sessions() (any, *broker.Error) {
	skip, top := r.number("skip"), r.number("top")
	at, ok := r.body.Find("last-updated-time").(wire.Timestamp)
	if r.err != nil || !ok || skip < 0 || top < 1 {
		return nil, bad("last-updated-time, skip and top are needed.")
	}
	var after time.Time
	if t := time.UnixMilli(int64(at)).UTC(); t.Year() < 9999 { // the end of time asks for all that have messages or state
		after = t
	}
	if !r.entity.Sessions() {
		return nil, &broker.Error{Condition: broker.NotAllowed, Text: "The entity does not require sessions."}
	}
	ids := r.entity.SessionIDs(after)
	ids = ids[min(int(skip), len(ids)):]
	ids = ids[:min(int(top), sessionsListed, len(ids))]
	if len(ids) == 0 {
		return nil, nil
	}
	out := wire.Array{Code: wire.ArrayOfString}
	for _, id := range ids {
		out.Items = append(out.Items, id)
	}
	return wire.Map{{Key: "skip", Value: int32(int(skip) + len(ids))}, {Key: "sessions-ids", Value: out}}, nil
}

// link is the name of the link on whose behalf the client asks, "" when it does not say.
func (r *managed) link() string {
	name, _ := r.app.Find("associated-link-name").(string)
	return name
}

func (r *managed) wrong(name, want string) {
	if r.err == nil {
		r.err = bad(fmt.Sprintf("%s is not %s.", name, want))
	}
}

func (r *managed) text(name string) string {
	s, ok := r.body.Find(name).(string)
	if !ok {
		r.wrong(name, "a string")
	}
	return s
}

func (r *managed) number(name string) int64 {
	n, ok := integer(r.body.Find(name))
	if !ok {
		r.wrong(name, "a number")
	}
	return n
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case int32:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint8:
		return int64(v), true
	}
	return 0, false
}

// list reads a list or an array.
func (r *managed) list(name string) []any {
	switch v := r.body.Find(name).(type) {
	case []any:
		return v
	case wire.Array:
		return v.Items
	}
	r.wrong(name, "a list")
	return nil
}

func (r *managed) numbers(name string) (out []int64) {
	for _, v := range r.list(name) {
		n, ok := integer(v)
		if !ok {
			r.wrong(name, "a list of numbers")
		}
		out = append(out, n)
	}
	return out
}

func (r *managed) tokens() (out [][16]byte) {
	for _, v := range r.list("lock-tokens") {
		t, ok := v.(wire.UUID)
		if !ok {
			r.wrong("lock-tokens", "a list of uuids")
		}
		out = append(out, t)
	}
	return out
}
