package live; // in the default package the component scan would walk the whole class path

import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.netflix.eureka.server.EnableEurekaServer;
import org.springframework.context.annotation.Bean;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.web.SecurityFilterChain;

/** A Eureka server; with live.password every request must have it, as user "live". */
@SpringBootApplication
@EnableEurekaServer
public class RunEureka {
    public static void main(String[] args) {
        SpringApplication.run(RunEureka.class, args);
    }

    @Bean
    SecurityFilterChain access(HttpSecurity http, @Value("${live.password:}") String password) throws Exception {
        http.csrf(csrf -> csrf.disable());
        if (password.isEmpty()) {
            return http.authorizeHttpRequests(all -> all.anyRequest().permitAll()).build();
        }
        return http.authorizeHttpRequests(all -> all.anyRequest().authenticated()).httpBasic(Customizer.withDefaults()).build();
    }
}
