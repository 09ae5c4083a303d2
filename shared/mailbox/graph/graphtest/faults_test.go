package graphtest_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	other := exchangetest.New("other@contoso.example", exchangetest.Options{})
	w.s.AddMailbox(other)
	w.s.Next(1, graphtest.ListFolders).Of(other).Fail(500)
	w.s.Next(2, graphtest.ListFolders).Of(w.m).Throttle("2.128")
	w.s.Next(1, graphtest.ListFolders).Throttle("")
	w.s.Next(1, graphtest.ListFolders).Unavailable("9")
	w.s.Next(1, graphtest.Any).Fail(503)
	w.s.Next(1, graphtest.ListFolders).Fail(504)
	w.s.Next(1, graphtest.ListFolders).After(1).Refuse(410, "ResyncRequired")
	for i, want := range []struct {
		status     int
		code, wait string
	}{{429, "ApplicationThrottled", "2.128"}, {429, "ApplicationThrottled", "2.128"}, {429, "ApplicationThrottled", ""}, {503, "", "9"},
		{503, "", ""}, {504, "UnknownError", ""}, {200, "", ""}, {410, "ResyncRequired", ""}, {200, "", ""}} {
		r := w.get("/folders")
		if r.Status != want.status || r.code() != want.code || r.Header.Get("Retry-After") != want.wait || r.Status == 503 && len(r.Body) > 0 {
			t.Errorf("request %d: %d %v %s, want %+v", i, r.Status, r.Header, r.Body, want)
		}
	}
	w.do("GET", w.s.URL()+"/admin/exchange/mailboxes/"+w.s.MailboxID(other)+"/folders", nil).must(500)
}

func TestAnswersThatAreLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	url, inbox := w.session(), w.known("inbox").ID
	body := []byte(`{"FolderId":"` + w.folderID("inbox") + `","Mode":"create","Data":"` + encode(message("x")) + `"}`)
	w.s.Next(1, graphtest.ImportItem).Reset()
	w.s.Next(1, graphtest.ImportItem).After(1).LoseAnswer()
	for i, want := range []int{0, 1, 2} {
		_, err := w.send("POST", url, body)
		if cut := i != 1; cut != (err != nil) || cut && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Errorf("request %d: %v", i, err)
		}
		if n := len(w.m.Items(inbox)); n != want {
			t.Errorf("%d items after request %d, want %d", n, i, want)
		}
	}
	if r := w.do("POST", url, body); r.Status != 200 {
		t.Errorf("afterwards: %d", r.Status)
	}
	w.s.Next(1, graphtest.ListFolders).LoseAnswer()
	r := w.do("POST", w.s.URL()+"/$batch", `{"requests":[{"id":"1","method":"GET","url":"/admin/exchange/mailboxes/`+w.id+`/folders"}]}`).must(200)
	if !strings.Contains(string(r.Body), `"status":502`) {
		t.Errorf("lost inside a batch: %s", r.Body)
	}
}

// What was sent of an answer that is cut comes, and then the connection ends; a short answer is not cut.
func TestAnswersThatAreCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	whole := w.get("/folders").must(200).Body
	w.s.Next(1, graphtest.ListFolders).Cut(40)
	w.s.Next(1, graphtest.ListFolders).Cut(int64(len(whole)))
	if r, err := w.send("GET", w.at("/folders"), nil); err == nil || string(r.Body) != string(whole[:40]) {
		t.Errorf("%d bytes, %v", len(r.Body), err)
	}
	if r, err := w.send("GET", w.at("/folders"), nil); err != nil || len(r.Body) != len(whole) {
		t.Errorf("a short answer: %d bytes, %v", len(r.Body), err)
	}
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	w := newWorld(t, graphtest.Options{TLS: cert.TLS})
	w.http = cert.Client()
	url := w.session()
	if !strings.HasPrefix(w.s.URL(), "https://127.0.0.1:") || !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Errorf("at %s, imports at %.30s", w.s.URL(), url)
	}
	w.s.Next(1, graphtest.ImportItem).LoseAnswer()
	body := []byte(`{"FolderId":"` + w.folderID("inbox") + `","Mode":"create","Data":"` + encode(message("x")) + `"}`)
	if _, err := w.send("POST", url, body); err == nil {
		t.Error("the answer came")
	}
	if n := len(w.m.Items(w.known("inbox").ID)); n != 1 {
		t.Errorf("%d items, want 1", n)
	}
}

func TestSlowAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	w.s.Next(1, graphtest.ListFolders).Delay(time.Minute)
	done := make(chan reply)
	go func() {
		r, _ := w.send("GET", w.at("/folders"), nil)
		done <- r
	}()
	if err := w.clock.BlockUntilContext(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
		t.Fatal("answered before its time")
	default:
	}
	w.clock.Advance(time.Minute)
	if r := <-done; r.Status != 200 {
		t.Errorf("delayed: %d", r.Status)
	}

	arrived, release := w.s.Next(1, graphtest.ListFolders).Hold()
	defer release()
	go func() {
		_, err := w.send("GET", w.at("/folders"), nil)
		if err == nil {
			t.Error("answered by a closed server")
		}
		done <- reply{}
	}()
	<-arrived
	w.s.Close()
	<-done
}

func TestHooks(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	w := newWorld(t, graphtest.Options{Log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	var seen atomic.Int32
	w.s.Before(graphtest.ListFolders, func(rw http.ResponseWriter, r *http.Request) bool {
		rw.WriteHeader(http.StatusTeapot)
		return seen.Add(1) == 1
	})
	w.s.After(graphtest.Any, func(r *http.Request, status int) {
		if status == http.StatusTeapot {
			seen.Add(10)
		}
	})
	w.get("/folders").must(http.StatusTeapot)
	w.get("/folders/inbox").must(200)
	if n := seen.Load(); n != 11 {
		t.Errorf("hooks ran %d times", n)
	}
	url := w.session()
	w.do("POST", url, importBody(w.folderID("inbox"), message("confidential"))).must(200)
	w.s.Close()
	for _, secret := range []string{"confidential", "megan", "authtoken", w.token, "eyJ", "MBX:", "importItem"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("the log tells %q:\n%s", secret, logged.String())
		}
	}
	if n := strings.Count(logged.String(), "request-id="); n != 4 {
		t.Errorf("%d lines logged, want 4:\n%s", n, logged.String())
	}
}
