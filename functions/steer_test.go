package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/migration"
)

func TestRetryNamesWhatAnotherWaveHas(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	w := a.submit(t, [2]string{"ann@old.example", "ann@new.example"}, [2]string{"bob@old.example", "bob@new.example"})
	a.run(t) // neither is there, so both fail
	later := a.call(t, http.MethodPost, "/api/batches", "application/json",
		`{"start":"2030-01-01T00:00:00Z","mailboxes":[{"source":"ann@old.example","target":"ann@new.example"}]}`)
	if later.Code != http.StatusAccepted {
		t.Fatalf("submission answers %d: %s", later.Code, later.Body)
	}
	ann := string(migration.MailboxFor("ann@old.example", "ann@new.example"))

	all := a.call(t, http.MethodPost, "/api/waves/"+string(w)+"/retry", "", "")
	var got steered
	if err := json.Unmarshal(all.Body.Bytes(), &got); err != nil || all.Code != http.StatusOK {
		t.Fatalf("answers %d: %s", all.Code, all.Body)
	}
	if got.Changed != 1 || len(got.Refused) != 1 || string(got.Refused[0]) != ann || !strings.Contains(got.Because, "active wave") {
		t.Errorf("got %+v, want that one mailbox goes on and %s does not", got, ann)
	}
	if one := a.call(t, http.MethodPost, "/api/waves/"+string(w)+"/mailboxes/"+ann+"/retry", "", ""); one.Code != http.StatusConflict {
		t.Errorf("alone it answers %d: %s", one.Code, one.Body)
	}
}
