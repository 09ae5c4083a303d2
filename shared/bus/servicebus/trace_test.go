package servicebus_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/bus/servicebus"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
	"github.com/mailferry/mailferry/shared/migration"
)

func TestATraceTravelsInTheProperties(t *testing.T) {
	t.Parallel()
	s := servicebustest.New(t, servicebustest.Queue{Name: "plan"})
	client, err := azservicebus.NewClientFromConnectionString(s.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	letter := func(m migration.MailboxID, trace bus.Trace) bus.Letter {
		return bus.Letter{Queue: migration.PlanQueue, Message: migration.Message{Wave: "w1", Mailbox: m, Pass: 1}, Trace: trace}
	}
	err = servicebus.New(client).Send(t.Context(), letter("m1", bus.Trace{Parent: "00-ab-cd-01", State: "mailferry=ef"}),
		letter("m2", bus.Trace{Parent: "00-ab-cd-01"}), letter("m3", bus.Trace{}))
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{"traceparent": "00-ab-cd-01", "tracestate": "mailferry=ef"}, {"traceparent": "00-ab-cd-01"}, nil}
	for i, m := range s.Messages("plan") {
		if !reflect.DeepEqual(m.Properties, want[i]) {
			t.Errorf("message %s has the properties %v, want %v", m.ID, m.Properties, want[i])
		}
	}
}
