// A gRPC server with one service of one method, and the health service.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	address := flag.String("listen", "127.0.0.1:9001", "address")
	flag.Parse()
	l, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	s, states := grpc.NewServer(), health.NewServer()
	s.RegisterService(cart(*address), nil)
	grpc_health_v1.RegisterHealthServer(s, states)
	states.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_SERVING)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		states.Shutdown() // NOT_SERVING: no further calls come
		s.GracefulStop()  // GOAWAY: calls under way end
	}()
	if err := s.Serve(l); err != nil {
		log.Fatal(err)
	}
}

// cart is the service shop.Cart. Its messages are strings, so that the example needs no code
// that protoc has made.
func cart(address string) *grpc.ServiceDesc {
	add := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		item := new(wrapperspb.StringValue)
		if err := decode(item); err != nil {
			return nil, err
		}
		return wrapperspb.String(item.Value + " is in the cart at " + address), nil
	}
	return &grpc.ServiceDesc{
		ServiceName: "shop.Cart",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Add", Handler: add}},
	}
}
