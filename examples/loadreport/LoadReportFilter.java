package com.example.loadreport;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletOutputStream;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpServletResponseWrapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.stereotype.Component;
import org.springframework.web.filter.OncePerRequestFilter;

/**
 * Says in each response how busy this process is, for proxies with load_reports: the requests in
 * flight, this one included, and the part of the processors that the process uses.
 *
 * <p>Spring Boot 3 finds it as a component. For Spring Boot 2 replace jakarta by javax.
 */
@Component
@Order(Ordered.HIGHEST_PRECEDENCE)
public class LoadReportFilter extends OncePerRequestFilter {

  private static final String FIELD = "Endpoint-Load-Metrics";

  private final AtomicInteger inFlight = new AtomicInteger();
  private final com.sun.management.OperatingSystemMXBean system =
      ManagementFactory.getPlatformMXBean(com.sun.management.OperatingSystemMXBean.class);

  @Override
  protected void doFilterInternal(
      HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws ServletException, IOException {
    inFlight.incrementAndGet();
    Reporting reporting = new Reporting(response);
    try {
      chain.doFilter(request, reporting);
    } finally {
      if (request.isAsyncStarted()) {
        // The response comes later, by another thread: what is known now has to do.
        reporting.report();
        request.getAsyncContext().addListener(new Ended());
      } else {
        reporting.report();
        inFlight.decrementAndGet();
      }
    }
  }

  private String load() {
    double cpu = Math.max(system.getProcessCpuLoad(), 0); // negative: not known yet
    return String.format(
        Locale.ROOT, "TEXT cpu_utilization=%.3f,named_metrics.in_flight=%d", cpu, inFlight.get());
  }

  /** Adds the report as late as possible: before the first content, or at the end. */
  private final class Reporting extends HttpServletResponseWrapper {
    private boolean done;

    Reporting(HttpServletResponse response) {
      super(response);
    }

    void report() {
      if (!done && !isCommitted()) {
        done = true;
        setHeader(FIELD, load());
      }
    }

    @Override
    public ServletOutputStream getOutputStream() throws IOException {
      report();
      return super.getOutputStream();
    }

    @Override
    public PrintWriter getWriter() throws IOException {
      report();
      return super.getWriter();
    }

    @Override
    public void sendError(int status) throws IOException {
      report();
      super.sendError(status);
    }

    @Override
    public void sendError(int status, String message) throws IOException {
      report();
      super.sendError(status, message);
    }

    @Override
    public void sendRedirect(String location) throws IOException {
      report();
      super.sendRedirect(location);
    }

    @Override
    public void flushBuffer() throws IOException {
      report();
      super.flushBuffer();
    }
  }

  /** Counts a request that was served asynchronously as over. */
  private final class Ended implements jakarta.servlet.AsyncListener {
    @Override
    public void onComplete(jakarta.servlet.AsyncEvent event) {
      inFlight.decrementAndGet();
    }

    @Override
    public void onTimeout(jakarta.servlet.AsyncEvent event) {}

    @Override
    public void onError(jakarta.servlet.AsyncEvent event) {}

    @Override
    public void onStartAsync(jakarta.servlet.AsyncEvent event) {
      event.getAsyncContext().addListener(this);
    }
  }
}
