// Video files through FFmpeg's libraries.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "media/decode.h"
#include "media/video_source.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>
}

namespace vlm {

namespace {

// Containers of one file with a video inside. Playlists are not among them: those name other files.
constexpr char kContainers[] =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,ogg,mpeg,mpegts,mpegvideo,flv,asf,apng,h264,hevc,ivf,m4v,"
    "mjpeg";
constexpr int kIoBuffer_bytes = 1 << 16;
constexpr size_t kRowAlignment_bytes = 64;

std::string reason_of(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof text);
  return text;
}

struct Memory {
  std::span<const std::byte> bytes;
  int64_t at = 0;
};

int read_memory(void* opaque, uint8_t* buffer, int size) {
  auto* memory = static_cast<Memory*>(opaque);
  int64_t left = static_cast<int64_t>(memory->bytes.size()) - memory->at;
  if (left <= 0) return AVERROR_EOF;
  int64_t count = std::min<int64_t>(left, size);
  std::memcpy(buffer, memory->bytes.data() + memory->at, static_cast<size_t>(count));
  memory->at += count;
  return static_cast<int>(count);
}

int64_t seek_memory(void* opaque, int64_t offset, int whence) {
  auto* memory = static_cast<Memory*>(opaque);
  int64_t size = static_cast<int64_t>(memory->bytes.size());
  if (whence & AVSEEK_SIZE) return size;
  int64_t from = (whence & 3) == SEEK_CUR ? memory->at : (whence & 3) == SEEK_END ? size : 0;
  if (offset < -from || offset > size - from) return AVERROR(EINVAL);
  return memory->at = from + offset;
}

// A container never makes us open another file or address.
int refuse_to_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EPERM);
}

class Demuxer {
 public:
  Demuxer(std::span<const std::byte> bytes, const std::string& name) : memory_{bytes} {
    static std::once_flag quiet;  // the library never prints; FFmpeg's log level is of the whole process
    std::call_once(quiet, [] { av_log_set_level(AV_LOG_QUIET); });
    auto* buffer = static_cast<uint8_t*>(av_malloc(kIoBuffer_bytes));
    io_ = avio_alloc_context(buffer, kIoBuffer_bytes, 0, &memory_, read_memory, nullptr, seek_memory);
    format_ = avformat_alloc_context();
    if (!io_ || !format_) {
      close();
      fail(ErrorKind::out_of_resources, "free some memory", "{}: no memory for a video", name);
    }
    format_->pb = io_;
    format_->flags |= AVFMT_FLAG_CUSTOM_IO;
    format_->io_open = refuse_to_open;
    AVDictionary* options = nullptr;
    av_dict_set(&options, "format_whitelist", kContainers, 0);
    int code = avformat_open_input(&format_, nullptr, nullptr, &options);
    av_dict_free(&options);
    if (code >= 0) code = avformat_find_stream_info(format_, nullptr);
    if (code < 0) {
      close();
      fail(ErrorKind::bad_request, "give a whole MP4, WebM, MKV, AVI or GIF file",
           "{}: this is no video, or a damaged one ({})", name, reason_of(code));
    }
    stream_ = av_find_best_stream(format_, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
    if (stream_ < 0 || (stream()->disposition & AV_DISPOSITION_ATTACHED_PIC)) {
      close();
      fail(ErrorKind::bad_request, "give a file with moving pictures", "{}: there is no video inside", name);
    }
    for (unsigned idx = 0; idx < format_->nb_streams; ++idx)
      if (static_cast<int>(idx) != stream_) format_->streams[idx]->discard = AVDISCARD_ALL;
  }
  ~Demuxer() { close(); }
  Demuxer(const Demuxer&) = delete;
  Demuxer& operator=(const Demuxer&) = delete;

  AVStream* stream() const { return format_->streams[stream_]; }
  // The next packet of the video; false at the end, or where the file breaks off.
  bool next(AVPacket* packet) {
    for (;;) {
      av_packet_unref(packet);
      if (av_read_frame(format_, packet) < 0) return false;
      if (packet->stream_index == stream_) return true;
    }
  }
  bool seek(int64_t time) { return av_seek_frame(format_, stream_, time, AVSEEK_FLAG_BACKWARD) >= 0; }

 private:
  void close() {
    if (format_) avformat_close_input(&format_);
    if (io_) {
      av_freep(&io_->buffer);
      avio_context_free(&io_);
    }
  }

  Memory memory_;
  AVIOContext* io_ = nullptr;
  AVFormatContext* format_ = nullptr;
  int stream_ = -1;
};

struct FreePacket {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct FreeFrame {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};
struct FreeCodec {
  void operator()(AVCodecContext* codec) const { avcodec_free_context(&codec); }
};
using Packet = std::unique_ptr<AVPacket, FreePacket>;
using Frame = std::unique_ptr<AVFrame, FreeFrame>;
using Codec = std::unique_ptr<AVCodecContext, FreeCodec>;

Packet make_packet() {
  return Packet(av_packet_alloc());
}

Codec open_codec(const AVStream* stream, const std::string& name, const VideoLimits& limits) {
  const AVCodec* decoder = avcodec_find_decoder(stream->codecpar->codec_id);
  if (!decoder)
    fail(ErrorKind::unsupported, "convert it, e.g. with ffmpeg -i IN -c:v libx264 OUT.mp4",
         "{}: no decoder for {} video here", name, avcodec_get_name(stream->codecpar->codec_id));
  Codec codec(avcodec_alloc_context3(decoder));
  VLM_CHECK(codec, "no memory for a decoder");
  avcodec_parameters_to_context(codec.get(), stream->codecpar);
  codec->pkt_timebase = stream->time_base;
  codec->max_pixels = limits.max_pixels;
  codec->thread_count = num_threads();
  if (int code = avcodec_open2(codec.get(), decoder, nullptr); code < 0)
    fail_damaged(name, decoder->name, reason_of(code));
  return codec;
}

// The EXIF orientation that makes frames of this stream upright.
int orientation_of(const AVStream* stream) {
  const uint8_t* matrix = nullptr;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 102)
  const AVPacketSideData* data = av_packet_side_data_get(
      stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  if (data) matrix = data->data;
#else
  matrix = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, nullptr);
#endif
  if (!matrix) return 1;
  double counterclockwise = av_display_rotation_get(reinterpret_cast<const int32_t*>(matrix));
  if (!(std::abs(counterclockwise) <= 360)) return 1;
  int quarters = (static_cast<int>(std::lround(-counterclockwise / 90)) % 4 + 4) % 4;  // clockwise
  constexpr int kOrientations[] = {1, 6, 3, 8};
  return kOrientations[quarters];
}

class Converter {
 public:
  ~Converter() { sws_freeContext(context_); }
  Converter() = default;
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;

  Image operator()(const AVFrame& frame, const std::string& name, const VideoLimits& limits) {
    DecodeLimits picture_limits;
    picture_limits.max_pixels = limits.max_pixels;
    check_picture_size(frame.height, frame.width, name, picture_limits);
    auto format = static_cast<AVPixelFormat>(frame.format);
    context_ = sws_getCachedContext(context_, frame.width, frame.height, format, frame.width, frame.height,
                                    AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr, nullptr, nullptr);
    if (!context_) fail_damaged(name, "video", "frames of an unknown pixel format");
    const char* format_name = av_get_pix_fmt_name(format);
    bool is_full_range =
        frame.color_range == AVCOL_RANGE_JPEG || (format_name && !std::strncmp(format_name, "yuvj", 4));
    sws_setColorspaceDetails(context_, sws_getCoefficients(frame.colorspace), is_full_range,
                             sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    // Rows are converted by whole vectors: they need room behind them.
    size_t row_bytes = static_cast<size_t>(frame.width) * 3;
    size_t stride = (row_bytes + 2 * kRowAlignment_bytes - 1) / kRowAlignment_bytes * kRowAlignment_bytes;
    rows_.resize(stride * static_cast<size_t>(frame.height) + kRowAlignment_bytes);
    uint8_t* planes[4] = {rows_.data()};
    int strides[4] = {static_cast<int>(stride)};
    if (sws_scale(context_, frame.data, frame.linesize, 0, frame.height, planes, strides) != frame.height)
      fail_damaged(name, "video", "a frame could not be converted to RGB");
    Image image = Image::of_size(frame.height, frame.width);
    for (int64_t y = 0; y < image.height; ++y)
      std::memcpy(image.row(y), rows_.data() + static_cast<size_t>(y) * stride, row_bytes);
    return image;
  }

 private:
  SwsContext* context_ = nullptr;
  std::vector<uint8_t> rows_;
};

// Frames one after the other from a place in the file.
class Decoder {
 public:
  Decoder(std::span<const std::byte> bytes, const std::string& name, const VideoLimits& limits)
      : demuxer_(bytes, name),
        codec_(open_codec(demuxer_.stream(), name, limits)),
        packet_(make_packet()),
        frame_(av_frame_alloc()) {
    VLM_CHECK(packet_ && frame_, "no memory for a frame");
  }

  bool seek(int64_t time) {
    if (!demuxer_.seek(time)) return false;
    avcodec_flush_buffers(codec_.get());
    is_draining_ = false;
    time_ = AV_NOPTS_VALUE;
    return true;
  }

  // Null at the end. Packets that do not decode are passed over.
  const AVFrame* next() {
    for (;;) {
      int code = avcodec_receive_frame(codec_.get(), frame_.get());
      if (code >= 0) {
        int64_t time = frame_->best_effort_timestamp;
        time_ = time != AV_NOPTS_VALUE ? time : time_ == AV_NOPTS_VALUE ? 0 : time_ + 1;
        return frame_.get();
      }
      if (is_draining_) return nullptr;
      if (demuxer_.next(packet_.get())) {
        avcodec_send_packet(codec_.get(), packet_.get());
      } else {
        is_draining_ = true;
        avcodec_send_packet(codec_.get(), nullptr);
      }
    }
  }
  int64_t time() const { return time_; }  // of the frame that next() gave
  const AVStream* stream() const { return demuxer_.stream(); }

 private:
  Demuxer demuxer_;
  Codec codec_;
  Packet packet_;
  Frame frame_;
  bool is_draining_ = false;
  int64_t time_ = AV_NOPTS_VALUE;
};

// Formats whose frames are changes to the frame before, whatever their packets say.
bool only_first_is_key(AVCodecID codec) {
  return codec == AV_CODEC_ID_GIF || codec == AV_CODEC_ID_APNG;
}

}  // namespace

VideoFile::VideoFile(std::shared_ptr<const VideoBytes> bytes, std::string name, const VideoLimits& limits)
    : bytes_(std::move(bytes)), name_(std::move(name)), limits_(limits) {
  Demuxer demuxer(bytes_->bytes(), name_);
  const AVStream* stream = demuxer.stream();
  DecodeLimits picture_limits;
  picture_limits.max_pixels = limits.max_pixels;
  check_picture_size(stream->codecpar->height, stream->codecpar->width, name_, picture_limits);
  bool drops_keys = only_first_is_key(stream->codecpar->codec_id);
  Packet packet = make_packet();
  VLM_CHECK(packet, "no memory for a packet");
  while (demuxer.next(packet.get())) {
    if (packet->flags & AV_PKT_FLAG_DISCARD) continue;  // cut away by an edit list
    if (num_frames() >= limits.max_frames)
      fail(ErrorKind::bad_request, "cut it into shorter pieces", "{}: more than {} frames", name_,
           limits.max_frames);
    int64_t time = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    has_times_ = has_times_ && time != AV_NOPTS_VALUE;
    frames_.push_back({time, (packet->flags & AV_PKT_FLAG_KEY) && (!drops_keys || frames_.empty())});
  }
  if (frames_.empty()) fail_damaged(name_, "video", "it has no frames");
  if (has_times_) {
    auto earlier = [](const Entry& one, const Entry& two) { return one.time < two.time; };
    std::stable_sort(frames_.begin(), frames_.end(), earlier);
    auto same = [](const Entry& one, const Entry& two) { return one.time == two.time; };
    has_times_ = std::adjacent_find(frames_.begin(), frames_.end(), same) == frames_.end();
  }
  AVRational rate = stream->avg_frame_rate;
  if (rate.num > 0 && rate.den > 0) {
    frames_per_second_ = av_q2d(rate);
  } else if (has_times_ && num_frames() > 1) {
    double ticks = static_cast<double>(frames_.back().time) - static_cast<double>(frames_.front().time);
    frames_per_second_ = static_cast<double>(num_frames() - 1) / (ticks * av_q2d(stream->time_base));
  }
}

std::vector<Image> VideoFile::read(const std::vector<int64_t>& wanted) const {
  std::optional<Decoder> decoder(std::in_place, bytes_->bytes(), name_, limits_);
  int orientation = orientation_of(decoder->stream());
  Converter convert;
  std::vector<Image> images;
  int64_t num_decoded = 0, pixels = 0, num_missing = 0;
  int64_t at = -1;  // the number of the frame decoded last, as far as it is known
  const AVFrame* frame = nullptr;
  std::optional<Image> last;  // the frame decoded last, where a damaged file gives no more
  // Runs to the frame `number`; false when the file ends before.
  auto run_to = [&](int64_t number) {
    while (at < number) {
      if (++num_decoded > limits_.max_decoded_frames)
        fail(ErrorKind::bad_request, "cut it into shorter pieces", "{}: more than {} frames to decode", name_,
             limits_.max_decoded_frames);
      frame = decoder->next();
      if (!frame) return false;
      if (!has_times_) {
        ++at;
        continue;
      }
      auto behind = std::upper_bound(frames_.begin(), frames_.end(), decoder->time(),
                                     [](int64_t time, const Entry& entry) { return time < entry.time; });
      at = std::max<int64_t>(behind - frames_.begin() - 1, at < 0 ? -1 : at);
    }
    return true;
  };
  for (size_t idx = 0; idx < wanted.size(); ++idx) {
    int64_t number = wanted[idx];
    if (idx > 0 && number == wanted[idx - 1]) {
      images.push_back(images.back());
      continue;
    }
    int64_t key = number;
    while (key > 0 && !frames_[static_cast<size_t>(key)].is_key) --key;
    if (has_times_ && key > at + 1) {
      bool sought = decoder->seek(frames_[static_cast<size_t>(key)].time);
      at = -1;
      if (!sought) decoder.emplace(bytes_->bytes(), name_, limits_);
      // The first frame behind the jump tells whether it went too far.
      if (sought && run_to(0) && at > number) {
        decoder.emplace(bytes_->bytes(), name_, limits_);
        at = -1;
      }
    }
    bool found = run_to(number);
    if (found && frame) {
      last = upright(convert(*frame, name_, limits_), orientation);
    } else {
      ++num_missing;
      if (!last) fail_damaged(name_, "video", "none of its frames can be decoded");
    }
    pixels += last->height * last->width;
    if (pixels > limits_.max_read_pixels)
      fail(ErrorKind::bad_request, "take fewer or smaller frames",
           "{}: {} frames of {} x {} pixels are too many", name_, wanted.size(), last->width, last->height);
    images.push_back(*last);
  }
  if (num_missing > 0)
    log(LogLevel::warn, "{}: {} of {} frames are damaged; the ones before them stand in", name_, num_missing,
        wanted.size());
  return images;
}

}  // namespace vlm
