package graphtest_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

func TestFifthConcurrentRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	other := exchangetest.New("other@contoso.example", exchangetest.Options{})
	w.s.AddMailbox(other)
	arrived, release := w.s.Next(4, graphtest.ListItems).Of(w.m).Hold()
	done := make(chan reply)
	for range 4 {
		go func() {
			r, err := w.send("GET", w.at("/folders/inbox/items"), nil)
			if err != nil {
				t.Error(err)
			}
			done <- r
		}()
	}
	for range 4 {
		<-arrived
	}
	fifth := w.get("/folders")
	if fifth.Status != 429 || fifth.code() != "ApplicationThrottled" || fifth.Header.Get("Retry-After") != "1" ||
		!strings.Contains(string(fifth.Body), "Application is over its MailboxConcurrency limit.") {
		t.Errorf("fifth: %d %v %s", fifth.Status, fifth.Header, fifth.Body)
	}
	w.do("GET", w.s.URL()+"/admin/exchange/mailboxes/"+w.s.MailboxID(other)+"/folders", nil).must(200)
	w.get("/folders", "Authorization", "Bearer "+w.s.TokenFor(graphtest.App{ID: "second app", Roles: graphtest.AllRoles()})).must(200)
	release()
	for range 4 {
		if r := <-done; r.Status != 200 {
			t.Errorf("one of four: %d", r.Status)
		}
	}
	w.get("/folders").must(200)
	if p := w.s.Peak(w.m); p != 5 {
		t.Errorf("peak %d, want 5", p)
	}
	if c := w.s.Count(w.m, graphtest.Any); c.Throttled != 1 || c.Failed != 1 || c.Requests != 7 {
		t.Errorf("counted %+v", c)
	}
}

func TestRequestsInAWindow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format graphtest.RetryAfter
		want   string
	}{{graphtest.WholeSeconds, "541"}, {graphtest.Fractional, "540.500"}, {graphtest.Absent, ""}} {
		app := graphtest.App{ID: "app", Roles: graphtest.AllRoles()}
		w := newWorld(t, graphtest.Options{Limits: graphtest.Limits{Requests: 5}, RetryAfter: c.format, Apps: []graphtest.App{app}})
		w.get("/folders").must(200)
		w.clock.Advance(59500 * time.Millisecond)
		// Failures count, whatever they are.
		session := w.session()
		w.s.ExpireSessions(w.m)
		w.do("POST", session, nil).must(401)
		powerless := w.s.SignToken(graphtest.Claims{App: app.ID})
		w.get("/folders", "Authorization", "Bearer "+powerless).must(403)
		w.get("/folders/nowhere").must(400)
		r := w.get("/folders").must(429)
		if got := r.Header.Get("Retry-After"); got != c.want || r.code() != "ApplicationThrottled" {
			t.Errorf("Retry-After %q, want %q: %s", got, c.want, r.Body)
		}
		w.token = w.s.Token()
		w.clock.Advance(540500*time.Millisecond - time.Nanosecond)
		w.get("/folders").must(429)
		w.clock.Advance(time.Nanosecond)
		// The first is out of the window, but two refused ones are in.
		w.get("/folders").must(429)
		w.clock.Advance(10 * time.Minute)
		w.get("/folders").must(200)
	}
}

func TestPublishedNumbers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("sends 10,000 requests and 300 MB")
	}
	w := newWorld(t, graphtest.Options{})
	for range 10_000 {
		w.get("/folders/x").must(400)
	}
	w.get("/folders/x").must(429)
	w.clock.Advance(10 * time.Minute)
	url, half := w.session(), strings.Repeat(" ", 75_000_000)
	w.do("POST", url, half).must(400)
	w.do("POST", url, half).must(400)
	r := w.do("POST", url, " ").must(429)
	if r.Header.Get("Retry-After") != "300" || !strings.Contains(string(r.Body), "Application is over its IncomingBytes limit.") {
		t.Errorf("%v %s", r.Header, r.Body)
	}
	w.clock.Advance(5 * time.Minute)
	w.do("POST", url, half+half+" ").must(413)
}

func TestUploadWindow(t *testing.T) {
	t.Parallel()
	for _, chunked := range []bool{false, true} {
		w := newWorld(t, graphtest.Options{Limits: graphtest.Limits{Upload: 100_000}})
		url := w.session()
		post := func(n int) reply {
			t.Helper()
			var body io.Reader = strings.NewReader(strings.Repeat(" ", n))
			if chunked {
				body = struct{ io.Reader }{body} // hides its length
			}
			req, err := http.NewRequest("POST", url, body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := w.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return reply{resp.StatusCode, resp.Header, b, t}
		}
		post(60_000).must(400)
		w.clock.Advance(2 * time.Minute)
		post(40_000).must(400)
		r := post(1).must(429)
		if r.Header.Get("Retry-After") != "180" {
			t.Errorf("chunked %v: Retry-After %q, want 180", chunked, r.Header.Get("Retry-After"))
		}
		w.get("/folders").must(200) // reading uploads nothing
		w.clock.Advance(3 * time.Minute)
		post(60_000).must(400)
		post(1).must(429)
		w.clock.Advance(5 * time.Minute)
		post(100_001).must(413)
		if chunked {
			w.clock.Advance(5 * time.Minute)
		}
		post(100_000).must(400)
	}
}

func TestRequestsOfAnApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{Limits: graphtest.Limits{All: 3}})
	w.get("/folders").must(200)
	w.do("GET", w.s.URL()+"/groups", nil).must(400)
	w.get("/folders").must(200)
	if r := w.get("/folders").must(429); r.code() != "TooManyRequests" || r.Header.Get("Retry-After") != "10" ||
		!strings.Contains(string(r.Body), `"innerError":{"code":"429","message":"Please retry after","status":"429","date":`) {
		t.Errorf("%v %s", r.Header, r.Body)
	}
	w.get("/folders", "Authorization", "Bearer "+w.s.TokenFor(graphtest.App{ID: "second app", Roles: graphtest.AllRoles()})).must(200)
	w.clock.Advance(10 * time.Second)
	w.get("/folders").must(200)
}

func TestBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{Limits: graphtest.Limits{Requests: 12}})
	it := w.s.ItemID(w.m, w.add("inbox", "a"))
	base := "/admin/exchange/mailboxes/" + w.id
	type entry map[string]any
	type answers struct {
		Responses []struct {
			ID      string
			Status  int
			Headers map[string]string
			Body    map[string]any
		}
	}
	post := func(es ...entry) (r reply, a answers) {
		r = w.do("POST", w.s.URL()+"/$batch", map[string]any{"requests": es})
		if r.Status == 200 {
			r.into(&a)
		}
		return r, a
	}
	_, a := post(
		entry{"id": "1", "method": "POST", "url": base + "/exportItems", "headers": map[string]string{"Content-Type": "application/json"}, "body": entry{"itemIds": []string{it}}},
		entry{"id": "2", "method": "get", "url": strings.TrimPrefix(base, "/") + "/folders?$top=1"},
		entry{"id": "3", "method": "GET", "url": base + "/folders/inbox/items/" + it + "x"},
		entry{"id": "4", "method": "POST", "url": "/$batch", "headers": map[string]string{"Content-Type": "application/json"}, "body": entry{"requests": []int{}}})
	got := ""
	for _, r := range a.Responses {
		got += fmt.Sprintf("%s=%d ", r.ID, r.Status)
	}
	first := a.Responses[len(a.Responses)-1] // answers come in another order
	if got != "4=400 3=400 2=200 1=200 " || first.Body["value"] == nil || first.Headers["Content-Type"] == "" {
		t.Errorf("answers %s%v", got, a.Responses)
	}

	_, a = post(
		entry{"id": "a", "method": "POST", "url": base + "/folders", "headers": map[string]string{"Content-Type": "application/json"}, "body": entry{"displayName": "x", "type": "IPF.Note"}},
		entry{"id": "b", "method": "DELETE", "url": base + "/folders/inbox", "dependsOn": []string{"a"}},
		entry{"id": "c", "method": "GET", "url": base + "/folders", "dependsOn": []string{"b"}})
	if a.Responses[0].Status != 201 || a.Responses[1].Status != 403 || a.Responses[2].Status != 424 {
		t.Errorf("chain %v", a.Responses)
	}

	_, a = post(
		entry{"id": "a", "method": "GET", "url": base + "/folders/none"},
		entry{"id": "b", "method": "GET", "url": base + "/folders", "dependsOn": []string{"A"}},
		entry{"id": "c", "method": "GET", "url": base + "/folders", "dependsOn": []string{"a"}})
	if a.Responses[0].Status != 400 || a.Responses[1].Status != 424 || a.Responses[2].Status != 424 {
		t.Errorf("all on the first %v", a.Responses)
	}

	_, a = post(entry{"id": "1", "method": "POST", "url": base + "/createImportSession", "headers": map[string]string{"content-type": "application/json"}, "body": entry{}},
		entry{"id": "2", "method": "POST", "url": base + "/exportItems", "headers": map[string]string{"Content-Type": "application/json"},
			"body": base64.RawURLEncoding.EncodeToString([]byte(`{"itemIds":["` + it + `"],"?>":1}`))})
	if a.Responses[1].Status != 200 || a.Responses[0].Status != 400 || !strings.Contains(fmt.Sprint(a.Responses[0].Body), "parameter '?>'") {
		t.Errorf("bodies of an empty object and of base64 %v", a.Responses)
	}
	w.clock.Advance(10 * time.Minute)

	r, a := post(entry{"id": 1, "method": "GET", "url": base + "/folders/inbox"}, entry{"id": 2, "method": "GET", "url": base + "/folders/tasks", "dependsOn": []int{1}})
	if len(a.Responses) != 2 || a.Responses[0].ID != "1" || a.Responses[1].ID != "2" || a.Responses[1].Status != 200 {
		t.Errorf("numbers for ids: %s", r.Body)
	}
	w.clock.Advance(10 * time.Minute)

	var many []entry
	for i := range 20 {
		many = append(many, entry{"id": fmt.Sprint(i), "method": "GET", "url": base + "/folders"})
	}
	throttled := 0
	for _, r := range func() answers { _, a := post(many...); return a }().Responses {
		if r.Status == 429 && r.Headers["Retry-After"] != "" {
			throttled++
		}
	}
	if throttled != 8 { // 12 a window
		t.Errorf("%d of 20 entries throttled, want 8", throttled)
	}
	w.clock.Advance(10 * time.Minute)
	arrived, release := w.s.Next(6, graphtest.ListFolders).Hold()
	go func() {
		for range 4 {
			<-arrived
		}
		for range 20 { // time enough for a fifth to come, if there were one
			if _, err := w.send("GET", w.s.URL()+"/groups", nil); err != nil {
				t.Error(err)
			}
		}
		release()
	}()
	for _, r := range func() answers { _, a := post(many[:6]...); return a }().Responses {
		if r.Status != 200 {
			t.Errorf("entry %s of six slow ones: %d", r.ID, r.Status)
		}
	}
	if p := w.s.Peak(w.m); p != 4 {
		t.Errorf("a batch sends %d at once, want 4", p)
	}
	for name, es := range map[string][]entry{
		"too many":        append(many, entry{"id": "20", "method": "GET", "url": "/x"}),
		"none":            {},
		"same id":         {many[0], many[0]},
		"no url":          {entry{"id": "1", "method": "GET"}},
		"own dependency":  {entry{"id": "1", "method": "GET", "url": "/x", "dependsOn": []string{"1"}}},
		"half a chain":    {many[0], entry{"id": "b", "method": "GET", "url": "/x", "dependsOn": []string{"0"}}, many[2]},
		"late chain":      {many[0], many[1], entry{"id": "b", "method": "GET", "url": "/x", "dependsOn": []string{"1"}}},
		"neither":         {many[0], entry{"id": "b", "method": "GET", "url": "/x", "dependsOn": []string{"0"}}, entry{"id": "c", "method": "GET", "url": "/x", "dependsOn": []string{"b"}}, entry{"id": "d", "method": "GET", "url": "/x", "dependsOn": []string{"0"}}},
		"two at once":     {many[0], many[1], entry{"id": "b", "method": "GET", "url": "/x", "dependsOn": []string{"0", "1"}}},
		"same but case":   {entry{"id": "a", "method": "GET", "url": "/x"}, entry{"id": "A", "method": "GET", "url": "/x"}},
		"no body":         {entry{"id": "1", "method": "POST", "url": "/x", "headers": map[string]string{"Content-Type": "application/json"}}},
		"null for a body": {entry{"id": "1", "method": "POST", "url": "/x", "headers": map[string]string{"Content-Type": "application/json"}, "body": nil}},
		"no type":         {many[0], entry{"id": "b", "method": "patch", "url": "/x", "body": entry{}}},
	} {
		if r, _ := post(es...); r.Status != 400 {
			t.Errorf("%s: %d %.200s", name, r.Status, r.Body)
		}
	}
}
