// Outlines of the shapes, all inside the circle of radius 1 around (0, 0); y points down.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "train/data/scene.h"

namespace vlm::data {
namespace {

constexpr double pi = std::numbers::pi;

std::vector<Point> regular(int64_t corners, double inner_radius = 1) {
  std::vector<Point> points;
  int64_t count = inner_radius < 1 ? corners * 2 : corners;
  for (int64_t i = 0; i < count; ++i) {
    double angle = -pi / 2 + 2 * pi * static_cast<double>(i) / static_cast<double>(count);
    double radius = inner_radius < 1 && i % 2 == 1 ? inner_radius : 1;
    points.push_back({radius * std::cos(angle), radius * std::sin(angle)});
  }
  return points;
}

std::vector<Point> box(double stretch) {
  double x = 1 / std::hypot(1, stretch), y = stretch * x;
  return {{-x, -y}, {x, -y}, {x, y}, {-x, y}};
}

std::vector<Point> heart() {
  std::vector<Point> points;
  for (int i = 0; i < 48; ++i) {
    double t = 2 * pi * i / 48;
    double y = 13 * std::cos(t) - 5 * std::cos(2 * t) - 2 * std::cos(3 * t) - std::cos(4 * t);
    points.push_back({std::pow(std::sin(t), 3) * 16 / 17.0, (-y - 2.5) / 17.0});
  }
  return points;
}

// A disc without another one that is moved right: open to the right.
std::vector<Point> crescent(double offset) {
  double inner = 0.82;  // radius of the disc that is cut out, whose centre lies at (offset, 0)
  double x = (1 + offset * offset - inner * inner) / (2 * offset);
  double outer_angle = std::acos(std::clamp(x, -1.0, 1.0));
  double inner_angle = std::acos(std::clamp((x - offset) / inner, -1.0, 1.0));
  std::vector<Point> points;
  constexpr int steps = 28;
  for (int i = 0; i <= steps; ++i) {
    double angle = outer_angle + (2 * pi - 2 * outer_angle) * i / steps;
    points.push_back({std::cos(angle), std::sin(angle)});
  }
  for (int i = 1; i < steps; ++i) {
    double angle = 2 * pi - inner_angle - (2 * pi - 2 * inner_angle) * i / steps;
    points.push_back({offset + inner * std::cos(angle), inner * std::sin(angle)});
  }
  return points;
}

std::vector<Point> unit_outline(const Object& object) {
  switch (object.shape) {
    case Shape::circle:
    case Shape::ring:
      return regular(64);
    case Shape::square:
      return box(1);
    case Shape::rectangle:
      return box(object.stretch);
    case Shape::triangle: {
      if (object.detail != 0) {
        double tip = object.detail;
        return {{0.7 * tip, -0.7}, {0.7, 0.7}, {-0.7, 0.7}};
      }
      double half = 0.866 / object.stretch;
      return {{0, -1}, {half, 0.5}, {-half, 0.5}};
    }
    case Shape::oval: {
      std::vector<Point> points = regular(64);
      for (Point& point : points) point.y *= object.stretch;
      return points;
    }
    case Shape::diamond:
      return {{0, -1}, {object.stretch, 0}, {0, 1}, {-object.stretch, 0}};
    case Shape::star:
      return regular(5, object.detail);
    case Shape::pentagon:
      return regular(5);
    case Shape::hexagon:
      return regular(6);
    case Shape::heart:
      return heart();
    case Shape::cross: {
      double arm = object.detail, end = std::sqrt(1 - arm * arm);
      return {{-arm, -end}, {arm, -end}, {arm, -arm}, {end, -arm}, {end, arm},   {arm, arm},
              {arm, end},   {-arm, end}, {-arm, arm}, {-end, arm}, {-end, -arm}, {-arm, -arm}};
    }
    case Shape::arrow: {
      double shaft = object.detail;
      return {{-0.95, -shaft}, {0.1, -shaft}, {0.1, -0.72},  {1, 0},
              {0.1, 0.72},     {0.1, shaft},  {-0.95, shaft}};
    }
    case Shape::crescent:
      return crescent(object.detail);
  }
  VLM_CHECK(false, "no such shape");
  return {};
}

}  // namespace

std::vector<Point> outline_of(const Object& object) {
  std::vector<Point> points = unit_outline(object);
  double longest = 1;
  for (const Point& point : points) longest = std::max(longest, std::hypot(point.x, point.y));
  double cosine = std::cos(object.rotation) / longest, sine = std::sin(object.rotation) / longest;
  for (Point& point : points) {
    point = {cosine * point.x - sine * point.y, sine * point.x + cosine * point.y};
  }
  return points;
}

double area_of(const Object& object) {
  std::vector<Point> points = outline_of(object);
  double twice = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    const Point& a = points[i];
    const Point& b = points[(i + 1) % points.size()];
    twice += a.x * b.y - b.x * a.y;
  }
  return std::abs(twice) / 2 * object.radius * object.radius;
}

}  // namespace vlm::data
