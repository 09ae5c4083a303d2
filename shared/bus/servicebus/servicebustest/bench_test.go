package servicebustest_test

import (
	"context"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
)

func benchClient(b *testing.B) (*azservicebus.Client, *servicebustest.Server) {
	s := servicebustest.New(b, servicebustest.Queue{Name: "q"})
	c, err := azservicebus.NewClientFromConnectionString(s.ConnectionString(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	return c, s
}

func BenchmarkSend(b *testing.B) {
	c, _ := benchClient(b)
	sender, err := c.NewSender("q", nil)
	if err != nil {
		b.Fatal(err)
	}
	m := &azservicebus.Message{Body: make([]byte, 200)}
	for b.Loop() {
		if err := sender.SendMessage(b.Context(), m, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReceiveAndComplete(b *testing.B) {
	c, s := benchClient(b)
	sender, err := c.NewSender("q", nil)
	if err != nil {
		b.Fatal(err)
	}
	r, err := c.NewReceiverForQueue("q", nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if s.Counts("q").Active == 0 {
			b.StopTimer()
			sendBatch(b, sender)
			b.StartTimer()
		}
		ms, err := r.ReceiveMessages(b.Context(), 1, nil)
		if err != nil {
			b.Fatal(err)
		}
		for _, m := range ms {
			if err := r.CompleteMessage(b.Context(), m, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func sendBatch(b *testing.B, sender *azservicebus.Sender) {
	batch, err := sender.NewMessageBatch(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	for range 500 {
		if err := batch.AddMessage(&azservicebus.Message{Body: make([]byte, 200)}, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := sender.SendMessageBatch(b.Context(), batch, nil); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkNewClientAndSend(b *testing.B) {
	_, s := benchClient(b)
	for b.Loop() {
		c, err := azservicebus.NewClientFromConnectionString(s.ConnectionString(), nil)
		if err != nil {
			b.Fatal(err)
		}
		sender, err := c.NewSender("q", nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := sender.SendMessage(b.Context(), &azservicebus.Message{}, nil); err != nil {
			b.Fatal(err)
		}
		_ = c.Close(b.Context())
	}
}
